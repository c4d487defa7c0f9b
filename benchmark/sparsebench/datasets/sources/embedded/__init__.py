"""The tasks that need no download: their images are made from what other packages carry."""
