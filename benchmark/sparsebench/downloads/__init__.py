"""Published files: where they lie, how they are fetched, and how it is made sure that they are the right ones."""

from .display import TransferDisplay
from .errors import ByHandError, FetchError
from .fetching import Fetcher
from .limits import Limits
from .locating import checkpoint_path, find_state, locate
from .offline import offline_reason

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
