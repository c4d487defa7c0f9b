"""LBC's files: N:M masks as a choice among all combinations (Zhang et al., 2022, Learning Best Combination).

``<layer>.index_list`` has the ``C(M, N)`` combinations as rows of zeros and ones, ``<layer>.alpha`` a weight of each
combination in each group; a weight is kept where the product of both isn't zero. Groups are of M consecutive weights,
of a convolution with the input channels running fastest, ``(O, H, W, I)``. When training has ended, one combination is
left in each group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...schema import CheckpointError
from .base import RawCheckpoint

_ALPHA, _COMBINATIONS = ".alpha", ".index_list"
_AGAIN = "get the file again"


def has_combinations(raw: RawCheckpoint) -> bool:
    """Return whether a state dict has combinations and a choice among them."""
    return any(name.endswith(_COMBINATIONS) for name in raw.state)


def apply_combinations(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Mask the weights by their combinations.

    Raises
    ------
    CheckpointError
        If a layer lacks one of the three tensors, they don't belong together, or training hasn't chosen yet.
    """
    state, masks, patterns, used = dict(raw.state), {}, set(), []
    for name in [name for name in raw.state if name.endswith(_COMBINATIONS)]:
        layer = name.removesuffix(_COMBINATIONS)
        combinations, alpha = state.pop(name), state.pop(f"{layer}{_ALPHA}", None)
        weight = state.get(f"{layer}.weight")
        if alpha is None or weight is None:
            missing = f"{layer}{_ALPHA}" if alpha is None else f"{layer}.weight"
            raise CheckpointError(f"the file has {name}, but not {missing}", _AGAIN)
        used += [name, f"{layer}{_ALPHA}"]
        n, m = _pattern(name, combinations)
        masks[f"{layer}.weight"] = _mask(layer, alpha, combinations.float(), weight, n)
        state[f"{layer}.weight"] = torch.where(masks[f"{layer}.weight"], weight, 0.0)
        patterns.add(f"{n}:{m}")
    meta = dict(raw.meta)
    if len(patterns) == 1:
        meta |= {"nm": patterns.pop(), "distribution": "nm", "sparsity": 1 - n / m, "sparsity_scope": "pruned_layers"}
    return raw.then("lbc", state=state, masks=masks, meta=meta, unused=(*raw.unused, *used))


def _pattern(name: str, combinations: Tensor) -> tuple[int, int]:
    """Return N and M of a list of combinations."""
    if combinations.ndim == 2 and combinations.numel() and bool(((combinations == 0) | (combinations == 1)).all()):
        kept = combinations.sum(1)
        n, m = int(kept[0]), combinations.shape[1]
        if bool((kept == n).all()) and 0 < n < m:
            return n, m
    raise CheckpointError(f"{name} is not a list of combinations: rows of as many ones each, the rest zeros", _AGAIN)


def _mask(layer: str, alpha: Tensor, combinations: Tensor, weight: Tensor, n: int) -> Tensor:
    """Return the mask of a layer in its weight's shape."""
    count, m = combinations.shape
    if alpha.ndim != 2 or alpha.shape[1] != count or len(alpha) * m != weight.numel() or weight.ndim not in (2, 4):
        shapes = f"{tuple(alpha.shape)} for {count} combinations of {m} and a weight of {tuple(weight.shape)}"
        raise CheckpointError(f"{layer}{_ALPHA} doesn't fit its layer: {shapes}", _AGAIN)
    groups = alpha.float() @ combinations != 0
    if int(groups.sum(1).max()) > n:
        raise CheckpointError(
            f"{layer} keeps more than {n} of {m} weights in a group: its combinations aren't chosen yet",
            "take the file from the end of the training",
        )
    if weight.ndim == 2:
        return groups.view(weight.shape)
    out, inputs, height, width = weight.shape
    return groups.view(out, height, width, inputs).permute(0, 3, 1, 2).contiguous()
