"""Run records on disk, written atomically, and back as one tidy table; importing it loads neither pandas nor torch."""

from .claims import LEASE_SECONDS, Claim, Claims, Held, read_claims
from .columns import COLUMNS, REQUIRED
from .frame import PUBLISHED, frame, gather, read_results, tidy, write_curated
from .predictions import Predictions
from .recordfile import DamagedRecordWarning
from .records import Found, Store
from .writable import ensure_writable

__all__ = [
    "COLUMNS",
    "LEASE_SECONDS",
    "PUBLISHED",
    "REQUIRED",
    "Claim",
    "Claims",
    "DamagedRecordWarning",
    "Found",
    "Held",
    "Predictions",
    "Store",
    "ensure_writable",
    "frame",
    "gather",
    "read_claims",
    "read_results",
    "tidy",
    "write_curated",
]
