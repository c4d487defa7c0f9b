"""What was costly to make, kept on disk by content, up to a limit. A cache may only ever save time."""

from .documents import read_document, write_document
from .entries import CacheWarning, Entry, entry_dir, read
from .limit import cache_limit, make_room
from .stream import Stream

__all__ = [
    "CacheWarning",
    "Entry",
    "Stream",
    "cache_limit",
    "entry_dir",
    "make_room",
    "read",
    "read_document",
    "write_document",
]
