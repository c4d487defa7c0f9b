"""Run records on disk, written atomically, and back as one tidy table; importing it loads neither pandas nor torch."""

from .columns import COLUMNS, REQUIRED
from .frame import PUBLISHED, frame, read_results, tidy, write_curated
from .predictions import Predictions
from .records import DamagedRecordWarning, Store
from .writable import ensure_writable

__all__ = [
    "COLUMNS",
    "PUBLISHED",
    "REQUIRED",
    "DamagedRecordWarning",
    "Predictions",
    "Store",
    "ensure_writable",
    "frame",
    "read_results",
    "tidy",
    "write_curated",
]
