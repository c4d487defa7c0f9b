"""OptG's files: a real-valued score of each weight, ``<layer>.mask`` beside ``<layer>.weight`` (Zhang et al., 2022).

The scores of all layers are ranked together: a layer's rate is the fraction of its scores below the smallest of the
``int(n (1 - s))`` largest of all ``n``, at sparsity ``s``. Each layer then loses the ``int(rate * size)`` weights of
lowest score; scores are signed, and count as they are. The sparsity isn't in the file: it is the registry entry's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...schema import CheckpointError
from .base import RawCheckpoint, State

if TYPE_CHECKING:
    from .reading import Wanted

_SCORES = ".mask"


def has_global_scores(raw: RawCheckpoint) -> bool:
    """Return whether a state dict has real-valued scores of its weights under the name of masks."""
    return bool(global_scores(raw.state))


def global_scores(state: State) -> dict[str, Tensor]:
    """Return the scores of a state dict by their own names; none where one of them is a mask of zeros and ones."""
    found = {name: value for name, value in state.items() if name.endswith(_SCORES)}
    for name, value in found.items():
        weight = state.get(_weight_of(name))
        if weight is None or weight.shape != value.shape or not value.is_floating_point():
            return {}
        if bool(((value == 0) | (value == 1)).all()):
            return {}
    return found


def apply_global_scores(raw: RawCheckpoint, wanted: Wanted) -> RawCheckpoint:
    """Mask the weights at the registered sparsity.

    Raises
    ------
    CheckpointError
        If the sparsity isn't known, it leaves nothing, or a score isn't a number.
    """
    sparsity = wanted.sparsity
    if sparsity is None:
        raise CheckpointError(
            "the file has scores from which its mask follows, but doesn't say how sparse it is",
            "register it with its sparsity",
        )
    scores = global_scores(raw.state)
    broken = [name for name, value in scores.items() if not bool(value.isfinite().all())]
    if broken:
        raise CheckpointError(f"{broken[0]} has scores that are NaN or infinite", "get the file again")
    ranked = torch.cat([value.reshape(-1) for value in scores.values()]).sort(descending=True).values
    kept = int(len(ranked) * (1 - sparsity))
    if not kept:
        raise CheckpointError(f"at sparsity {sparsity:g} no weight of the file is left", "correct the entry's sparsity")
    threshold = ranked[kept - 1]
    state, masks = dict(raw.state), {}
    for name, value in scores.items():
        del state[name]
        weight = _weight_of(name)
        rate = int((value < threshold).sum()) / value.numel()
        mask = torch.ones(value.numel(), dtype=torch.bool)
        mask[value.reshape(-1).argsort(stable=True)[: int(rate * value.numel())]] = False
        masks[weight] = mask.view(value.shape)
        state[weight] = torch.where(masks[weight], state[weight], 0.0)
    meta = {**raw.meta, "sparsity": sparsity}
    return raw.then("optg", state=state, masks=masks, meta=meta, unused=(*raw.unused, *scores))


def _weight_of(name: str) -> str:
    return f"{name.removesuffix(_SCORES)}.weight"
