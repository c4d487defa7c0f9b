"""Frozen features: a backbone's output for every image of a split, extracted once and cached by content."""

from ...caching import CacheWarning
from .extraction import EXTRACTOR_VERSION, Features, extract

__all__ = ["EXTRACTOR_VERSION", "CacheWarning", "Features", "extract"]
