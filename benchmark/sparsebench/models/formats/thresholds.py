"""STR's native files: raw weights and a learned threshold a layer (Kusupati et al., 2020).

The effective weight is ``sign(w) * relu(|w| - sigmoid(s))`` with ``s`` the layer's ``sparseThreshold``; the raw weights
are not sparse. STR's dense-compatible files have it applied, and none of these keys.
"""

from __future__ import annotations

import torch

from ...schema import CheckpointError
from .base import RawCheckpoint

_THRESHOLD = ".sparseThreshold"


def has_thresholds(raw: RawCheckpoint) -> bool:
    """Return whether a state dict has STR's thresholds."""
    return any(name.endswith(_THRESHOLD) for name in raw.state)


def apply_thresholds(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Replace raw weights by the effective ones; the masks are where these are not zero."""
    state, masks, used = dict(raw.state), {}, []
    for name in [name for name in state if name.endswith(_THRESHOLD)]:
        threshold, weight = state.pop(name), f"{name.removesuffix(_THRESHOLD)}.weight"
        used.append(name)
        if weight not in state:
            raise CheckpointError(f"the file has {name}, but not {weight}", "get the file again")
        raw_weight = state[weight]
        if threshold.numel() != 1:
            raise CheckpointError(
                f"{name} has {threshold.numel()} thresholds for one layer", "only STR's one per layer is known"
            )
        magnitude = torch.relu(raw_weight.abs() - torch.sigmoid(threshold.reshape(())))
        masks[weight] = magnitude > 0
        state[weight] = torch.where(masks[weight], torch.sign(raw_weight) * magnitude, 0.0)
    pruned = {name: kept for name, kept in masks.items() if not bool(kept.all())}
    return raw.then("str", state=state, masks=pruned, unused=(*raw.unused, *used))
