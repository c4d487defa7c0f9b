"""What every format reader returns, and what the steps of reading hand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

State = Mapping[str, Tensor]


def is_number(name: str, value: Tensor) -> bool:
    """Return whether a tensor is a single number beside the weights (``epoch``, ``n_averaged``): of no layer."""
    return "." not in name and not value.is_nested and value.numel() == 1 and value.ndim < 2


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
    taken : str or None
        Which of several sets of weights this is, as the file names it; None where it has one.
    removed : str or None
        What was taken out of all names, as a wrapper's.
    wanted : str or None
        Which set of weights was asked for, where the file's structure doesn't show which one it is: names may.
    """

    format: str
    state: dict[str, Tensor]
    masks: dict[str, Tensor] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    taken: str | None = None
    removed: str | None = None
    wanted: str | None = None

    def then(self, step: str, **changes: Any) -> RawCheckpoint:
        """Return the checkpoint after a further step of reading."""
        name = step if self.format == "plain" else f"{self.format}+{step}"
        return replace(self, format=name, **changes)

    def renamed(self, step: str, rename: Callable[[str], str], **meta: Any) -> RawCheckpoint:
        """Return the checkpoint with other tensor names, and more in ``meta``."""
        state = {rename(name): value for name, value in self.state.items()}
        masks = None if self.masks is None else {rename(name): mask for name, mask in self.masks.items()}
        return self.then(step, state=state, masks=masks, meta={**self.meta, **meta})
