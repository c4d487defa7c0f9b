"""What every format reader returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class RawCheckpoint:
    """A checkpoint file, read.

    Parameters
    ----------
    format : str
        The format it was recognised as.
    state : dict of str to Tensor
        A plain state dict.
    masks : dict of str to Tensor or None
        The file's own masks (True = kept) by weight name; None where the file has none, so that they must be inferred.
    meta : dict
        What the file says about itself (``arch``, ``method``, ...); empty for a bare state dict.
    """

    format: str
    state: dict[str, Tensor]
    masks: dict[str, Tensor] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
