"""Which image is in which split: cutting by content, and splits that are remembered."""
