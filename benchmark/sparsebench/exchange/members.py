"""The members of a bundle: their names, and how much each may unpack to."""

from __future__ import annotations

import re
from typing import Final

from . import limits

FORMAT: Final = "sparsebench results"
VERSION: Final = 1
"""Version of the bundle's layout; a reader accepts its own and older ones."""

MANIFEST: Final = "manifest.json"
ENTRIES: Final = "checkpoints.json"

_KEY = r"[0-9a-f]{16}-[0-9a-f]{8}"
_LIMITS: Final = {
    re.compile(re.escape(MANIFEST)): limits.MANIFEST,
    re.compile(re.escape(ENTRIES)): limits.ENTRIES,
    re.compile(rf"records/{_KEY}\.json"): limits.RECORD,
    re.compile(rf"predictions/{_KEY}\.npz"): limits.PREDICTIONS,
    re.compile(r"splits/[0-9a-f]{64}\.json"): limits.SPLIT,
}


def limit_of(name: str) -> int | None:
    """Return how many bytes a member may have; None for a name that no member has."""
    return next((most for pattern, most in _LIMITS.items() if pattern.fullmatch(name)), None)


def record_name(key: str) -> str:
    """Return the member that holds a record."""
    return f"records/{key}.json"


def predictions_name(key: str) -> str:
    """Return the member that holds a run's predictions."""
    return f"predictions/{key}.npz"


def split_name(split_sha256: str) -> str:
    """Return the member that shows what a split's fingerprint is made of."""
    return f"splits/{split_sha256}.json"
