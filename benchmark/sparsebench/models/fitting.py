"""Find the network that a checkpoint's tensors are of: its architecture, its heads, what wrappers added to names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from ..schema import CheckpointError
from . import backbones
from .backbones import Architecture
from .formats import (
    RawCheckpoint,
    ambiguous,
    architectures_of,
    check_numbers,
    is_averaged,
    is_number,
    matches,
    readings_of,
    warn_of_choice,
)


@dataclass(frozen=True)
class Mismatch:
    """How many keys of a state dict don't fit a model, and which, in words."""

    count: int
    text: str


@dataclass(frozen=True)
class Fitted:
    """A network with a checkpoint's weights.

    Parameters
    ----------
    model : nn.Module
        The network, its heads included if the file has them.
    architecture : Architecture
        What it was built as.
    raw : RawCheckpoint
        The checkpoint under the network's names.
    head_names : tuple of str
        The layers that give logits.
    head_keys : frozenset of str
        All tensors that leave with the heads; a head may have a normalisation of its own.
    classes : int or None
        Of the heads; None where the file has none.
    """

    model: nn.Module
    architecture: Architecture
    raw: RawCheckpoint
    head_names: tuple[str, ...]
    head_keys: frozenset[str]
    classes: int | None


def fit(arch: str, raw: RawCheckpoint, path: Path) -> Fitted:
    """Build the architecture that a file's tensors fit and load them strictly; missing heads alone are allowed.

    The names may carry what a wrapper put in front. Nothing is built in memory before the shapes agree.

    Raises
    ------
    CheckpointError
        If nothing fits, several networks in the file do, or a tensor's numbers are of another kind.
    """
    problems: list[tuple[int, str]] = []
    for architecture in backbones.find(arch):
        skeleton = _Skeleton.of(architecture)
        found: list[RawCheckpoint] = []
        for reading in _wanted(raw):
            problem = skeleton.problem(reading, whole=_is_part(reading, raw))
            if problem is None:
                found.append(reading)
                if not _is_part(reading, raw):
                    break  # all that the file holds fits
            else:
                problems.append((problem.count, f"{architecture}: {problem.text}"))
        if found:
            return skeleton.load(_chosen(found, raw, path), path)
    if not problems:
        parts = [reading.taken for reading in readings_of(raw) if reading.taken]
        raise ambiguous(path, list(dict.fromkeys(parts)) or ["one network"], raw.wanted)
    others = [name for name in architectures_of(raw) if name != arch]
    _, text = min(problems)
    raise CheckpointError(
        f"{path} doesn't fit architecture {text}",
        f"it looks like {others[0]}" if others else "it was saved from another architecture, or a changed one",
    )


def _wanted(raw: RawCheckpoint) -> Iterator[RawCheckpoint]:
    """Yield the readings of a checkpoint whose names match the set of weights that was asked for, if one was."""
    for reading in readings_of(raw):
        if raw.wanted is None or matches(reading.taken or "", raw.wanted, is_averaged(_part(reading, raw))):
            yield reading


def _is_part(reading: RawCheckpoint, raw: RawCheckpoint) -> bool:
    return reading.taken != raw.taken


def _part(reading: RawCheckpoint, raw: RawCheckpoint) -> str:
    """Return what one of several networks in a set of weights is called within it; empty for the whole set."""
    return (reading.taken or "").removeprefix(raw.taken or "").removeprefix(".")


def _numbers(raw: RawCheckpoint) -> int:
    return sum(value.numel() for value in raw.state.values())


def _chosen(found: list[RawCheckpoint], raw: RawCheckpoint, path: Path) -> RawCheckpoint:
    """Return the one of several networks in a file that is to be used: the averaged one, if there is one.

    Averages whose tensors' names don't fit aren't passed over in silence: another network must then be named.
    """
    averaged = [reading for reading in found if is_averaged(_part(reading, raw))]
    names = list(dict.fromkeys(reading.taken or "" for reading in found))
    if raw.wanted is None and not averaged and _is_part(found[0], raw):
        large = min(_numbers(reading) for reading in found) / 2
        unread = [r.taken or "" for r in readings_of(raw) if is_averaged(_part(r, raw)) and _numbers(r) > large]
        if unread:
            raise ambiguous(path, [*dict.fromkeys(unread), *names], None)
    if len(found) == 1:
        return found[0]
    if len(averaged) != 1:
        raise ambiguous(path, names, None)
    others = ", ".join(name for name in names if name != averaged[0].taken)
    warn_of_choice(path, averaged[0].taken or "", others)
    return averaged[0]


@dataclass(frozen=True)
class _Skeleton:
    """An architecture without memory: its tensors' names and shapes, and which are its heads'."""

    architecture: Architecture
    head_names: tuple[str, ...]
    head_keys: frozenset[str]

    @classmethod
    def of(cls, architecture: Architecture) -> _Skeleton:
        template = _built(architecture, 2, "meta")
        names = backbones.head_names(template, architecture)
        before = set(template.state_dict())
        backbones.remove_head(template, architecture)
        return cls(architecture, names, frozenset(before - set(template.state_dict())))

    def classes(self, state: Mapping[str, Tensor]) -> int | None:
        """Return the classes of a state dict's heads; None where one is missing or has another shape than a head's."""
        weights = [state.get(f"{name}.weight") for name in self.head_names]
        sizes = {weight.shape[0] for weight in weights if weight is not None and weight.ndim > 0}
        return sizes.pop() if None not in weights and len(sizes) == 1 and min(sizes) > 0 else None

    def usable(self, raw: RawCheckpoint, wanted: Mapping[str, Tensor]) -> RawCheckpoint:
        """Return a checkpoint without what isn't the network's: single numbers, empty tensors, half of its heads."""
        dropped = [n for n, v in raw.state.items() if n not in wanted and (is_number(n, v) or not v.numel())]
        if len(self.head_names) > 1 and self.classes(raw.state) is None:
            dropped += [name for name in raw.state if name in self.head_keys]
        state = {name: value for name, value in raw.state.items() if name not in dropped}
        masks = None if raw.masks is None else {n: mask for n, mask in raw.masks.items() if n not in dropped}
        return replace(raw, state=state, masks=masks, unused=(*raw.unused, *dropped)) if dropped else raw

    def problem(self, raw: RawCheckpoint, *, whole: bool = False) -> Mismatch | None:
        """Return how a checkpoint differs from the architecture, None if it doesn't; a ``whole`` one has its heads."""
        classes = self.classes(raw.state)
        wanted = _tensors(self.architecture, classes or 2)
        raw = self.usable(raw, wanted)
        optional = self.head_keys if classes is None and not whole else frozenset[str]()
        return _mismatch(wanted, raw.state, optional)

    def load(self, raw: RawCheckpoint, path: Path) -> Fitted:
        """Build the network and load a checkpoint that fits."""
        classes = self.classes(raw.state)
        model = _built(self.architecture, classes or 2, "cpu")
        wanted = model.state_dict()
        raw = self.usable(raw, wanted)
        for name, value in raw.state.items():
            try:
                check_numbers(name, value, wanted[name])
            except CheckpointError as error:
                raise CheckpointError(f"{path}: {error.message}", error.hint) from None
        model.load_state_dict(raw.state, strict=False)
        return Fitted(model, self.architecture, raw, self.head_names, self.head_keys, classes)


@lru_cache(maxsize=8)
def _tensors(architecture: Architecture, classes: int) -> dict[str, Tensor]:
    """Return an architecture's state dict without memory."""
    return dict(_built(architecture, classes, "meta").state_dict())


def _built(architecture: Architecture, classes: int, device: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]), torch.device(device), backbones.skip_init():
        return backbones.build(architecture, classes)


def mismatch(model: nn.Module, state: Mapping[str, Tensor]) -> Mismatch | None:
    """Return how the keys and shapes of a state dict differ from a model's; None if they fit.

    Step counters may be missing, since old files have none, and single numbers of no layer don't count.
    """
    wanted = model.state_dict()
    return _mismatch(wanted, {n: v for n, v in state.items() if n in wanted or not is_number(n, v)}, frozenset())


def _mismatch(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], optional: frozenset[str]) -> Mismatch | None:
    missing = [k for k in wanted if k not in state and k not in optional and not k.endswith("num_batches_tracked")]
    extra = [k for k in state if k not in wanted]
    wrong = [k for k, v in state.items() if k in wanted and v.shape != wanted[k].shape]
    parts = []
    for what, keys in (("missing", missing), ("unexpected", extra)):
        if keys:
            parts.append(f"{len(keys)} keys {what} ({_some(keys)})")
    if wrong:
        k = wrong[0]
        parts.append(f"{len(wrong)} of another shape ({k}: {tuple(state[k].shape)}, not {tuple(wanted[k].shape)})")
    return Mismatch(len(missing) + len(extra) + len(wrong), ", ".join(parts)) if parts else None


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
