"""Published files: where they lie, how they are fetched, and how it is made sure that they are the right ones.

What speaks to servers and draws progress is imported when it is first used: most commands fetch nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import importer
from .errors import ByHandError, FetchError
from .locating import checkpoint_path, find_state, locate
from .offline import offline_reason

if TYPE_CHECKING:
    from .display import TransferDisplay
    from .fetching import Fetcher
    from .limits import Limits

__all__ = [
    "ByHandError",
    "FetchError",
    "Fetcher",
    "Limits",
    "TransferDisplay",
    "checkpoint_path",
    "find_state",
    "locate",
    "offline_reason",
]

__getattr__ = importer(__name__, {"Fetcher": ".fetching", "Limits": ".limits", "TransferDisplay": ".display"})
