"""The corruptions of ImageNet-C that need no pictures of their own, one file per family."""
