"""Names that wrappers of a network put in front of its tensors' own, or in their midst."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...schema import CheckpointError
from .base import RawCheckpoint, State, is_number

_ANYWHERE = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})
"""Parts of names that say nothing about the network: torch.compile, FSDP, checkpointing of activations, Fabric."""

_PARALLEL = "module"
"""What DataParallel adds: in front, or where only a part of the network was in parallel. Some have such a part too."""

_FLAT_PARAMETER = "_flat_param"


def unwrapped(name: str) -> str:
    """Return a tensor's name without the parts that wrappers add, but for DataParallel's in its midst."""
    *path, leaf = name.split(".")
    path = [part for part in path if part not in _ANYWHERE]
    while path and path[0] == _PARALLEL:
        del path[0]
    return ".".join([*path, leaf])


def unwrap_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict under its names without wrappers.

    Raises
    ------
    CheckpointError
        If two different tensors then have one name, or if FSDP's flattened parameters are left.
    """
    result: dict[str, Tensor] = {}
    spelled: dict[str, str] = {}
    for key, value in state.items():
        name = unwrapped(key)
        if name.rpartition(".")[2].startswith(_FLAT_PARAMETER):
            raise CheckpointError(
                f"the file holds parameters that FSDP has flattened ({key})", "save a full state dict from FSDP"
            )
        if ".parametrizations." in name:
            raise CheckpointError(
                f"{key} belongs to a parametrization, whose function isn't in the file",
                "call torch.nn.utils.parametrize.remove_parametrizations before saving",
            )
        if name in result and not same(result[name], value):
            raise CheckpointError(
                f"the file holds tensor {name} twice, with different values: as {spelled[name]} and as {key}",
                "save one network's state dict alone",
            )
        result.setdefault(name, value)
        spelled.setdefault(name, key)
    return result


def same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are equal, kind included; those that can't be compared aren't."""
    if one is other:
        return True
    if (one.dtype, one.shape, one.layout) != (other.dtype, other.shape, other.layout):
        return False
    try:
        return torch.equal(one, other)
    except (RuntimeError, NotImplementedError):
        return False


def readings(raw: RawCheckpoint) -> Iterator[RawCheckpoint]:
    """Yield a checkpoint as it is, and as it would be without what a wrapper may have added to its names.

    That is any prefix that all share (``model.``, ``net.backbone.``), and DataParallel's part in their midst. Last,
    each of several networks that were saved as one: ``student.``, ``teacher.``.
    """
    yield raw
    prefixes = shared_prefixes(_tensors(raw.state))
    for prefix in prefixes:
        yield _renamed(raw, prefix)
    if any(_PARALLEL in name.split(".")[:-1] for name in raw.state):
        yield _renamed(raw, _PARALLEL)
    shared = prefixes[-1] if prefixes else ""
    parts = dict.fromkeys(name.removeprefix(shared).partition(".")[0] for name in raw.state if "." in name)
    for part in parts:
        yield from _alone(raw, f"{shared}{part}.")


def _alone(raw: RawCheckpoint, prefix: str) -> Iterator[RawCheckpoint]:
    """Yield a part of the tensors as a network of its own."""
    state = unwrap_names({n.removeprefix(prefix): v for n, v in raw.state.items() if n.startswith(prefix)})
    masks = {n.removeprefix(prefix): m for n, m in (raw.masks or {}).items() if n.startswith(prefix)}
    others = [name for name in raw.state if not name.startswith(prefix)]
    part = ".".join(filter(None, (raw.taken, prefix.rstrip("."))))
    alone = replace(raw, state=state, masks=masks or None, unused=(*raw.unused, *others), taken=part, removed=prefix)
    yield alone
    for inner in shared_prefixes(_tensors(state)):
        yield replace(_renamed(alone, inner), removed=prefix + inner)


def _renamed(raw: RawCheckpoint, removed: str) -> RawCheckpoint:
    """Return a checkpoint without a prefix (it ends in a dot), or without a part of names."""

    def rename(name: str) -> str:
        if removed.endswith("."):
            return name.removeprefix(removed)
        return ".".join(part for part in name.split(".") if part != removed)

    state = {rename(name): value for name, value in raw.state.items()}
    if len(state) < len(raw.state):
        return raw
    masks = None if raw.masks is None else {rename(name): mask for name, mask in raw.masks.items()}
    return replace(raw, state=state, masks=masks, removed=removed)


def _tensors(state: State) -> list[str]:
    """Return the names of a state dict's tensors, but for single numbers beside them."""
    return [name for name, value in state.items() if not is_number(name, value)]


def shared_prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes that all names share, shortest first: ``model.``, ``model.net.``, ..."""
    split = [name.split(".") for name in names]
    found: list[str] = []
    for depth in range(min(map(len, split), default=1) - 1):
        if len({name[depth] for name in split}) > 1:
            break
        found.append(".".join(split[0][: depth + 1]) + ".")
    return found
