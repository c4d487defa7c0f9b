"""Masks beside unmasked weights: in a mapping or list of their own, as one flat vector, or next to each weight.

Training code for dynamic sparsity saves ``{"state_dict": ..., "masks": ...}``, M-FAC one vector over all pruned layers,
others ``<layer>.mask`` or ``<layer>.weight_mask`` beside ``<layer>.weight``. The effective weight is the product.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ...schema import CheckpointError
from .base import RawCheckpoint, State, is_number
from .budget import Budget
from .global_scores import global_scores
from .kinds import plain
from .placeholders import Placeholder
from .wrappers import same, shared_prefixes, unwrapped

_SUFFIX = re.compile(r"(?:[._]weight)?[._]+(?:(?:pruning|prune|sparse|sparsity)_?)?masks?$|\.mask(?=\.weight$)")
_MASKS = re.compile(r"mask", re.I)
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def apply_masks(raw: RawCheckpoint, found: list[tuple[str, Any]], budget: Budget) -> RawCheckpoint:
    """Mask a plain state dict by the masks that lie beside it.

    Parameters
    ----------
    raw : RawCheckpoint
        A plain state dict.
    found : list of (str, object)
        What lies under keys that speak of masks: a mapping of tensors, a list of them, or one flat tensor.
    budget : Budget
        What they may take.

    Raises
    ------
    CheckpointError
        If it isn't clear which weights they are of, they hold other values than 0 and 1, or differ from each other.
    """
    if global_scores(raw.state):  # scores that are called masks: format optg
        return raw
    masks: dict[str, Tensor] = {}
    used: list[str] = []
    for place, value in found:
        for name, mask in _named(place, value, raw.state, budget).items():
            if name in masks and not same(masks[name], mask):
                raise CheckpointError(
                    f"the file holds two masks of {name}", "save the network with one mask per weight"
                )
            masks[name] = mask
        used.append(place)
    state = {name: value for name, value in raw.state.items() if not _is_mask_of(name, raw.state)}
    for name in raw.state.keys() - state.keys():
        weight = _weight_of(name, state)
        if weight is not None:
            masks[weight] = _as_mask(name, raw.state[name], state[weight])
            used.append(name)
    if not masks:
        return raw
    if not any(bool(kept.any()) for kept in masks.values()):
        raise CheckpointError(
            f"the mask of {next(iter(masks))} keeps nothing, as all others", "a mask is 1 where a weight is kept"
        )
    for name, kept in masks.items():
        state[name] = torch.where(kept, state[name], 0.0)
    pruned = {name: kept for name, kept in masks.items() if not bool(kept.all())}
    return raw.then("masks-beside", state=state, masks=pruned or None, unused=(*raw.unused, *used))


def _named(place: str, value: Any, state: State, budget: Budget) -> dict[str, Tensor]:
    """Return the masks of one place by the names of their weights."""
    if isinstance(value, Placeholder):
        value = value.items_set or value.state or list(value)
    if isinstance(value, Tensor):
        value = plain(place, value, budget)
        return _flat(place, value, state) if value.ndim == 1 else {}
    if isinstance(value, list | tuple):
        parts = [plain(place, item, budget) for item in value if isinstance(item, Tensor)]
        return _flat(place, torch.cat([part.flatten() for part in parts]), state) if parts else {}
    if not isinstance(value, Mapping):
        return {}
    tensors = dict(tensors_in(value))
    weights = _weights_of(list(tensors), state)
    if weights is None:
        raise CheckpointError(
            f"the file holds masks under {place} that aren't of its weights: {next(iter(tensors))}, ...",
            "save the masked weights",
        )
    return {
        weights[key]: _as_mask(f"{place}.{key}", plain(f"{place}.{key}", item, budget), state[weights[key]])
        for key, item in tensors.items()
    }


def tensors_in(mapping: Mapping[Any, Any], prefix: str = "", depth: int = 4) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a mapping, and of those within it (``masking.masks``), by the weights' names."""
    for key, item in mapping.items():
        if isinstance(item, Tensor):
            yield f"{prefix}{key}", item
        elif isinstance(item, Mapping) and depth:
            within = "" if _MASKS.search(str(key)) else f"{prefix}{key}."
            yield from tensors_in(item, within, depth - 1)


def _flat(place: str, vector: Tensor, state: State) -> dict[str, Tensor]:
    """Return the masks in one vector over all pruned weights, in the state dict's order."""
    parameters = [
        name
        for name, value in state.items()
        if value.is_floating_point() and not name.endswith(_BUFFERS) and not is_number(name, value)
    ]
    matrices = [name for name in parameters if state[name].ndim > 1]
    convolutions = [name for name in matrices if state[name].ndim == 4]
    ways = {tuple(names) for names in (convolutions, convolutions[1:], matrices, matrices[1:-1], parameters)}
    fitting = [names for names in ways if names and sum(state[n].numel() for n in names) == vector.numel()]
    if len(fitting) != 1:
        raise CheckpointError(
            f"the file holds {vector.numel():,} numbers of a mask under {place}, but not which weights they are of",
            "save the masked weights, or a mapping of weights' names to masks",
        )
    parts = vector.split([state[name].numel() for name in fitting[0]])
    return {name: _as_mask(place, part, state[name]) for name, part in zip(fitting[0], parts, strict=True)}


def _is_mask_of(name: str, state: State) -> bool:
    return _SUFFIX.search(name) is not None and _weight_of(name, state) is not None


def _weight_of(name: str, state: State) -> str | None:
    """Return the weight that a mask is of: it has the weight's name, the layer's or its own; None if there is none."""
    bare = unwrapped(name)
    for stem in dict.fromkeys([bare, _SUFFIX.sub("", bare)]):
        for candidate in (stem, f"{stem}.weight"):
            if candidate != name and candidate in state and state[candidate].is_floating_point():
                return candidate
    return name if name in state and not _SUFFIX.search(name) else None


def _under(prefixes: tuple[str, str], name: str) -> str:
    """Return a name with one prefix in place of another."""
    theirs, ours = prefixes
    return ours + name.removeprefix(theirs)


def _weights_of(names: list[str], state: State) -> dict[str, str] | None:
    """Return the weights of a mapping's masks by the masks' names; weights and masks may be wrapped differently."""
    for theirs in ("", *shared_prefixes([unwrapped(name) for name in names])):
        for ours in ("", *shared_prefixes(state)):
            found = {name: _weight_of(_under((theirs, ours), unwrapped(name)), state) for name in names}
            if all(found.values()):
                return {name: weight for name, weight in found.items() if weight is not None}
    return None


def _as_mask(name: str, value: Tensor, weight: Tensor) -> Tensor:
    kept = value != 0
    if not bool(((value == 1) | ~kept).all()):
        raise CheckpointError(
            f"{name} is not a mask: it has values other than 0 and 1",
            "save the masked weights: which are kept is not known",
        )
    if kept.numel() != weight.numel():
        raise CheckpointError(
            f"{name} is a mask of shape {tuple(value.shape)}, for a weight of shape {tuple(weight.shape)}",
            "save the masked weights",
        )
    return kept.reshape(weight.shape)
