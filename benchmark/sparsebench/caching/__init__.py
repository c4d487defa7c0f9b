"""What was costly to make, kept on disk by content, up to a limit. A cache may only ever save time.

What handles arrays is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import importer
from .documents import read_document, read_documents, write_document
from .limit import CacheWarning, cache_limit, make_room

if TYPE_CHECKING:
    from .entries import Entry, entry_dir, read
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
    "read_documents",
    "write_document",
]

__getattr__ = importer(
    __name__, {"Entry": ".entries", "Stream": ".stream", "entry_dir": ".entries", "read": ".entries"}
)
