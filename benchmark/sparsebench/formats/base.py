"""What every format reader returns, and what the steps of reading hand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class RawCheckpoint:
    """A checkpoint file, read.

    Parameters
    ----------
    format : str
        The format it was recognised as; several steps are joined by ``+`` (``ist+rigl``).
    state : dict of str to Tensor
        A plain state dict.
    masks : dict of str to Tensor or None
        The file's own masks (True = kept) by weight name; None where the file has none, so that they must be inferred.
    meta : dict
        What the file says about itself (``arch``, ``method``, ...); empty for a bare state dict.
    unused : tuple of str
        Keys of the file that the network doesn't need (thresholds, scores, step counters of another run).
    """

    format: str
    state: dict[str, Tensor]
    masks: dict[str, Tensor] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def then(self, step: str, **changes: Any) -> RawCheckpoint:
        """Return the checkpoint after a further step of reading."""
        name = step if self.format == "plain" else f"{self.format}+{step}"
        return replace(self, format=name, **changes)

    def renamed(self, step: str, rename: Callable[[str], str], **meta: Any) -> RawCheckpoint:
        """Return the checkpoint with other tensor names, and more in ``meta``."""
        state = {rename(name): value for name, value in self.state.items()}
        masks = None if self.masks is None else {rename(name): mask for name, mask in self.masks.items()}
        return self.then(step, state=state, masks=masks, meta={**self.meta, **meta})
