"""Published checkpoint formats: a file to a plain state dict plus masks, recognised by its content.

What a format is called, and what recognises and reads it, is declared in :mod:`.declared`, without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...common.lazy import importer

if TYPE_CHECKING:
    from .base import RawCheckpoint, is_number
    from .contents import ambiguous, is_averaged, matches, warn_of_choice
    from .guard import guarded
    from .kinds import check_numbers
    from .masked import complete
    from .reading import architectures_of, read_checkpoint, readings_of

__all__ = [
    "RawCheckpoint",
    "ambiguous",
    "architectures_of",
    "check_numbers",
    "complete",
    "guarded",
    "is_averaged",
    "is_number",
    "matches",
    "read_checkpoint",
    "readings_of",
    "warn_of_choice",
]

__getattr__ = importer(
    __name__,
    {
        "RawCheckpoint": ".base",
        "ambiguous": ".contents",
        "architectures_of": ".reading",
        "check_numbers": ".kinds",
        "complete": ".masked",
        "guarded": ".guard",
        "is_averaged": ".contents",
        "is_number": ".base",
        "matches": ".contents",
        "read_checkpoint": ".reading",
        "readings_of": ".reading",
        "warn_of_choice": ".contents",
    },
)
