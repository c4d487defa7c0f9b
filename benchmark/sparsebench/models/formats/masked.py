"""Files that keep a mask beside each weight: IST's wrapped layers, and ``torch.nn.utils.prune``.

IST's repositories (AC/DC, sparse transfer, CrAM's training runs) wrap every convolution and linear layer:
``<layer>._layer.weight`` with buffers ``<layer>._weight_mask`` and ``<layer>._bias_mask``. ``torch.nn.utils.prune``,
which lottery-ticket code uses, keeps ``<layer>.weight_orig`` and ``<layer>.weight_mask``. Either way the effective
weight is the product. A mask of ones only marks a layer as dense; a file with no other masks was wrapped after its
training, and its sparsity must be read off its zeros.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ...schema import CheckpointError
from .base import RawCheckpoint

_WRAPPED = re.compile(r"(?P<layer>.+?)(?:\._layer)+\.(?P<kind>weight|bias)")
_WRAPPED_MASK = re.compile(r"(?P<layer>.+?)(?:\._layer)*\._(?P<kind>weight|bias)_mask")
_PRUNED = re.compile(r"(?P<layer>.+)\.(?P<kind>weight|bias)_orig")
_PRUNED_MASK = re.compile(r"(?P<layer>.+)\.(?P<kind>weight|bias)_mask")


def is_wrapped(raw: RawCheckpoint) -> bool:
    """Return whether a state dict is one of wrapped layers."""
    return any(_WRAPPED.fullmatch(name) for name in raw.state)


def is_pruned(raw: RawCheckpoint) -> bool:
    """Return whether a state dict is one of ``torch.nn.utils.prune``."""
    return any(_PRUNED.fullmatch(name) for name in raw.state)


def is_masks_alone(raw: RawCheckpoint) -> bool:
    """Return whether a state dict holds nothing but masks: a lottery ticket without its weights.

    Their names say so (``<layer>.weight_mask``), or their values do: truth values, or zeros and ones, both of them.
    """
    if all(_PRUNED_MASK.fullmatch(name) for name in raw.state):
        return True
    values = list(raw.state.values())
    if any(value.is_floating_point() and not bool(((value == 0) | (value == 1)).all()) for value in values):
        return False
    if all(value.dtype == torch.bool for value in values):
        return True
    weights = [value for value in values if value.ndim > 1]  # beside masks of ones for biases and norms
    both = any(bool((value == 0).any()) for value in weights) and any(bool((value == 1).any()) for value in weights)
    return both and all(bool(((value == 0) | (value == 1)).all()) for value in values)


def masks_alone(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Return the masks of a file without weights (see :func:`complete`)."""
    masks = {_masked_by(name): _as_mask(name, value) for name, value in raw.state.items()}
    return raw.then("masks", state={}, masks=masks)


def _masked_by(name: str) -> str:
    """Return the tensor that a mask is of: it has the tensor's name, or the layer's."""
    name = name.removesuffix("_mask").removesuffix(".mask")
    return name if name.endswith((".weight", ".bias")) else f"{name}.weight"


def complete(masks: RawCheckpoint, weights: RawCheckpoint) -> RawCheckpoint:
    """Return a lottery ticket: a file of masks alone, and the pretrained weights that its survivors are rewound to.

    Raises
    ------
    CheckpointError
        If a mask is for no weight of that shape.
    """
    state = dict(weights.state)
    for name, kept in (masks.masks or {}).items():
        if name not in state or state[name].shape != kept.shape:
            raise CheckpointError(f"the file has a mask for {name}, but its base has no such weight of that shape")
        state[name] = torch.where(kept, state[name], 0.0)
    meta = {**weights.meta, **masks.meta}
    return RawCheckpoint(masks.format, state, masks.masks, meta, weights.unused)


def unwrap(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Multiply wrapped weights by their masks and give them their plain names."""
    return _multiply(raw, "ist", _WRAPPED, _WRAPPED_MASK)


def unprune(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Multiply the weights of ``torch.nn.utils.prune`` by their masks and give them their plain names."""
    return _multiply(raw, "torch-prune", _PRUNED, _PRUNED_MASK)


def _multiply(raw: RawCheckpoint, step: str, weight: re.Pattern[str], mask: re.Pattern[str]) -> RawCheckpoint:
    state: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for name, value in raw.state.items():
        if found := mask.fullmatch(name):
            masks[f"{found['layer']}.{found['kind']}"] = _as_mask(name, value)
        elif found := weight.fullmatch(name):
            state[f"{found['layer']}.{found['kind']}"] = value
        else:
            state[name] = value
    for name, kept in masks.items():
        if name not in state:
            raise CheckpointError(f"the file has a mask for {name}, but not that tensor", "get the file again")
        if kept.shape != state[name].shape:
            shapes = f"{tuple(kept.shape)}, not {tuple(state[name].shape)}"
            raise CheckpointError(f"the mask of {name} has another shape: {shapes}", "get the file again")
        state[name] = torch.where(kept, state[name], 0.0)
    pruned = {name: kept for name, kept in masks.items() if not bool(kept.all())}
    return raw.then(step, state=state, masks=pruned or None)


def _as_mask(name: str, value: Tensor) -> Tensor:
    kept = value != 0
    if not bool(((value == 1) | ~kept).all()):
        raise CheckpointError(f"{name} is not a mask: it has values other than 0 and 1", "get the file again")
    return kept
