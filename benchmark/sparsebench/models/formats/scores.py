"""Files with scores, from which the mask follows at run time: SuperBlock's of tiles, hidden networks' of weights.

Tiles whose score is below the layer's ``k``-th smallest are pruned, ``k = 1 + round(s (n - 1))`` of ``n`` tiles at
sparsity ``s``; the effective weight is ``(w * scale + shift) * mask``. The sparsity isn't in the file: it is the
registry entry's, or is in the published file names (``sp0.90-ts32.pth``).

Hidden networks (Ramanujan et al., 2020) score each weight of their random ones: of ``n`` weights the ``int(s n)`` with
the smallest absolute scores are pruned, in each layer. Their batch norm has no weights of its own: ones and zeros take
their place.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...schema import CheckpointError
from .base import RawCheckpoint

if TYPE_CHECKING:
    from .reading import Wanted

_SCORES = ".scores"
_IN_NAME = re.compile(r"sp(0?\.\d+)-ts\d+")


def has_tile_scores(raw: RawCheckpoint) -> bool:
    """Return whether a state dict has scores of tiles beside its weights."""
    return bool(_scores(raw)) and not has_weight_scores(raw)


def has_weight_scores(raw: RawCheckpoint) -> bool:
    """Return whether a state dict has a score of each weight, in some layer."""
    return any(_is_of_weights(name, value, raw) for name, value in _scores(raw).items())


def _scores(raw: RawCheckpoint) -> dict[str, Tensor]:
    return {name: value for name, value in raw.state.items() if name.endswith(_SCORES)}


def _is_of_weights(name: str, value: Tensor, raw: RawCheckpoint) -> bool:
    weight = raw.state.get(f"{name.removesuffix(_SCORES)}.weight")
    return weight is not None and weight.shape == value.shape


def convert(raw: RawCheckpoint, wanted: Wanted) -> RawCheckpoint:
    """Mask the weights at the sparsity that is registered, or is in the file's name (:func:`apply_scores`)."""
    sparsity = sparsity_in(wanted.path.name) if wanted.sparsity is None else wanted.sparsity
    return apply_scores(raw, sparsity)


def sparsity_in(file_name: str) -> float | None:
    """Return the sparsity that a published file's name states, as a fraction."""
    found = _IN_NAME.search(file_name)
    return float(found[1]) if found else None


def apply_scores(raw: RawCheckpoint, sparsity: float | None) -> RawCheckpoint:
    """Mask the weights by their tiles' scores, or by their own.

    Parameters
    ----------
    raw : RawCheckpoint
        With ``<layer>.scores`` and, where the layer is transformed, ``.scale`` and ``.shift``.
    sparsity : float or None
        The fraction of tiles, or of weights, pruned in each layer.

    Raises
    ------
    CheckpointError
        If the sparsity isn't known, or scores don't tile their weight.
    """
    if sparsity is None:
        raise CheckpointError(
            "the file has scores from which its mask follows, but doesn't say how sparse it is",
            "register it with its sparsity, or name it as it was published (sp0.90-ts32.pth)",
        )
    state, masks, used = dict(raw.state), {}, []
    elementwise = False
    for name in [name for name in state if name.endswith(_SCORES)]:
        layer = name.removesuffix(_SCORES)
        scores, weight = state.pop(name), state.get(f"{layer}.weight")
        if weight is None:
            raise CheckpointError(f"the file has {name}, but not {layer}.weight", "get the file again")
        scale = state.pop(f"{layer}.scale", torch.ones(1))
        shift = state.pop(f"{layer}.shift", torch.zeros(1))
        used += [name, f"{layer}.scale", f"{layer}.shift"]
        if not scores.numel() or not scores.is_floating_point():
            raise CheckpointError(f"{name} holds no scores", "get the file again")
        if scores.shape == weight.shape:
            elementwise, mask = True, _kept_weights(scores, sparsity)
        else:
            mask = _tiled(name, _kept(scores, sparsity), weight)
        state[f"{layer}.weight"] = torch.where(mask, weight * scale + shift, 0.0)
        masks[f"{layer}.weight"] = mask
    if elementwise:
        _complete_norms(state)
    meta = {**raw.meta, "sparsity": sparsity, "sparsity_scope": "pruned_layers"}  # layers without scores are dense
    return raw.then(
        "hidden" if elementwise else "superblock", state=state, masks=masks, meta=meta, unused=(*raw.unused, *used)
    )


def _complete_norms(state: dict[str, Tensor]) -> None:
    """Add the weights and biases of batch norms that were trained without them, in place."""
    for name in [name for name in state if name.endswith(".running_mean")]:
        norm = name.removesuffix(".running_mean")
        if f"{norm}.weight" not in state and f"{norm}.bias" not in state:
            state |= {f"{norm}.weight": torch.ones_like(state[name]), f"{norm}.bias": torch.zeros_like(state[name])}


def _kept(scores: Tensor, sparsity: float) -> Tensor:
    """Return which tiles are kept; never none of them."""
    sparsity = min(sparsity, 1 - 1 / scores.numel())
    order = 1 + round(sparsity * (scores.numel() - 1))
    return scores >= scores.reshape(-1).kthvalue(order).values


def _kept_weights(scores: Tensor, sparsity: float) -> Tensor:
    """Return which weights are kept by scores of their own."""
    order = scores.abs().reshape(-1).argsort(stable=True)
    kept = torch.ones_like(order, dtype=torch.bool)
    kept[order[: int(sparsity * len(order))]] = False
    return kept.view(scores.shape)


def _tiled(name: str, kept: Tensor, weight: Tensor) -> Tensor:
    """Return a tile mask at the weight's own resolution."""
    sizes = [math.ceil(w / k) for w, k in zip(weight.shape, kept.shape, strict=False)]
    tile = 1 << (max(sizes, default=1) - 1).bit_length()  # published tiles are 16, 32 and 64 wide
    if kept.ndim != weight.ndim or tuple(math.ceil(w / tile) for w in weight.shape) != tuple(kept.shape):
        shapes = f"{tuple(kept.shape)} scores for a weight of {tuple(weight.shape)}"
        raise CheckpointError(f"{name} doesn't tile its layer: {shapes}", "only square tiles are known")
    for dim, size in enumerate(weight.shape):
        kept = kept.repeat_interleave(tile, dim).narrow(dim, 0, size)
    return kept
