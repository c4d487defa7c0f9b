"""Files of dense weights whose N:M mask is made from them when they are used (SR-STE, Zhou et al., 2021).

In each group of M consecutive weights of a convolution, input channels running fastest, the N largest magnitudes are
kept. Groups run on over kernel positions where the input channels are no multiple of M, as in a stem. The head stays
dense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...schema import CheckpointError
from .base import RawCheckpoint

if TYPE_CHECKING:
    from .reading import Wanted


def convert(raw: RawCheckpoint, wanted: Wanted) -> RawCheckpoint:
    """Mask the convolutions by the registered pattern (:func:`apply_pattern`)."""
    return apply_pattern(raw, wanted.nm)


def apply_pattern(raw: RawCheckpoint, nm: str | None) -> RawCheckpoint:
    """Mask the convolutions of a plain state dict.

    Parameters
    ----------
    raw : RawCheckpoint
        Under our names.
    nm : str or None
        The pattern, ``2:4``.

    Raises
    ------
    CheckpointError
        If there is no pattern, or it doesn't divide a layer.
    """
    if nm is None:
        raise CheckpointError("format nm-dense needs the pattern", "give the entry's nm, for example '2:4'")
    n, m = map(int, nm.split(":"))
    state, masks = dict(raw.state), {}
    for name, weight in raw.state.items():
        if weight.ndim != 4:
            continue
        if weight.numel() % m:
            raise CheckpointError(f"{name} has {weight.numel()} weights, which {nm} doesn't divide")
        masks[name] = straddling_mask(weight, n, m)
        state[name] = torch.where(masks[name], weight, 0.0)
    return raw.then("nm-dense", state=state, masks=masks)


def straddling_mask(weight: Tensor, n: int, m: int) -> Tensor:
    """Return the mask ``(O, I, H, W)`` that keeps n of m consecutive weights, input channels first."""
    groups = weight.abs().permute(0, 2, 3, 1).reshape(-1, m)
    dropped = groups.argsort(dim=1, stable=True)[:, : m - n]
    kept = torch.ones_like(groups, dtype=torch.bool).scatter_(1, dropped, False)
    out, inputs, height, width = weight.shape
    return kept.view(out, height, width, inputs).permute(0, 3, 1, 2).contiguous()
