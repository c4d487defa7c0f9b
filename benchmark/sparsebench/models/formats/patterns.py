"""Files of dense weights whose N:M mask is made from them when they are used.

Of each group of M consecutive weights the N largest magnitudes are kept. SR-STE (Zhou et al., 2021) groups a
convolution with its input channels running fastest; groups run on over kernel positions where the input channels are no
multiple of M, as in a stem; the head stays dense. Bi-Mask (Zhang et al., 2023) groups each filter as it lies,
``(I, H, W)``, and linear layers along their inputs; the first layer and the head stay dense.
"""

from __future__ import annotations

from collections.abc import Callable
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


def convert_bimask(raw: RawCheckpoint, wanted: Wanted) -> RawCheckpoint:
    """Mask a state dict by the registered pattern, as Bi-Mask does (:func:`apply_flat_pattern`)."""
    return apply_flat_pattern(raw, wanted.nm)


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
    convolutions = [name for name, weight in raw.state.items() if weight.ndim == 4]
    return _masked(raw, "nm-dense", nm, convolutions, straddling_mask)


def apply_flat_pattern(raw: RawCheckpoint, nm: str | None) -> RawCheckpoint:
    """Mask the layers inside of a network's blocks; parameters and errors as of :func:`apply_pattern`.

    Layers at the top (``conv1``, ``fc``, ``head``) and what takes an image's three channels are dense.
    """
    inner = [
        name
        for name, weight in raw.state.items()
        if name.endswith(".weight") and name.count(".") > 1 and weight.ndim in (2, 4) and weight.shape[1] != 3
    ]
    return _masked(raw, "bimask", nm, inner, flat_mask)


def _masked(
    raw: RawCheckpoint, step: str, nm: str | None, names: list[str], mask: Callable[[Tensor, int, int], Tensor]
) -> RawCheckpoint:
    if nm is None:
        raise CheckpointError(f"format {step} needs the pattern", "give the entry's nm, for example '2:4'")
    n, m = map(int, nm.split(":"))
    if not 0 < n < m:
        raise CheckpointError(f"{nm} is no pattern: it must keep some of a group, not all", "correct the entry's nm")
    state, masks = dict(raw.state), {}
    for name in names:
        weight = raw.state[name]
        if weight.numel() % m:
            raise CheckpointError(f"{name} has {weight.numel()} weights, which {nm} doesn't divide")
        masks[name] = mask(weight, n, m)
        state[name] = torch.where(masks[name], weight, 0.0)
    return raw.then(step, state=state, masks=masks)


def flat_mask(weight: Tensor, n: int, m: int) -> Tensor:
    """Return the mask that keeps n of m consecutive weights in a weight's own order, ``(O, I, H, W)`` or ``(O, I)``."""
    groups = weight.abs().reshape(-1, m)
    dropped = groups.argsort(dim=1, stable=True)[:, : m - n]
    return torch.ones_like(groups, dtype=torch.bool).scatter_(1, dropped, False).view(weight.shape)


def straddling_mask(weight: Tensor, n: int, m: int) -> Tensor:
    """Return the mask ``(O, I, H, W)`` that keeps n of m consecutive weights, input channels first."""
    return flat_mask(weight.permute(0, 2, 3, 1).contiguous(), n, m).permute(0, 3, 1, 2).contiguous()
