"""Find the weights among what a ``torch.save`` file holds: under any key, in any wrapper, beside anything.

A file of a training run holds a state dict, often averaged weights as well, and the optimizer, numbers, masks, objects.
Where several sets of weights remain, one is chosen by name or the choice is an error: none is preferred in silence.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from ...schema import CheckpointError
from .base import is_number
from .beside import tensors_in
from .kinds import size_of
from .placeholders import Placeholder
from .wrappers import same, unwrapped

_DEPTH = 6
_MOST_TENSORS = 100_000
_NOT_WEIGHTS = re.compile(r"optim|sched|scaler|rng|random|hyper_?param|loops|amp|criterion|loss|momentum", re.I)
_MASKS = re.compile(r"mask", re.I)
_INITIAL = re.compile(r"init|rewind|start", re.I)
_AVERAGED = re.compile(r"(?:^|[_.])(?:ema|swa|avg|averaged?|polyak|shadow)(?:$|[_.])", re.I)


@dataclass(frozen=True)
class Weights:
    """A set of weights in a file: where it lies (``model.state_dict``), and its tensors."""

    place: str
    tensors: dict[str, Tensor]

    @property
    def averaged(self) -> bool:
        """Whether these are averages over training (EMA, SWA)."""
        return is_averaged(self.place) or "n_averaged" in self.tensors

    @property
    def size(self) -> int:
        """The bytes of its tensors."""
        return sum(map(size_of, self.tensors.values()))


@dataclass(frozen=True)
class Contents:
    """Sets of weights, and what lies under keys that speak of masks; ``seen`` are the objects that were looked into.

    ``unnamed`` are lists of averaged tensors without names, as sets of weights: no name says which is which.
    """

    weights: list[Weights]
    masks: list[tuple[str, Any]]
    unnamed: list[Weights] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)


def is_averaged(name: str) -> bool:
    """Return whether a name says that weights are averages over training."""
    return _AVERAGED.search(name) is not None


def matches(name: str, wanted: str, averaged: bool) -> bool:
    """Return whether a set of weights is meant by ``ema``, ``raw``, its name, or a part of its name."""
    if wanted in ("ema", "raw"):
        return averaged == (wanted == "ema")
    return wanted == name or wanted in name.split(".")


def choose(content: Any, path: Path, wanted: str | None) -> tuple[Weights, list[Weights], Contents]:
    """Return the set of weights to use, and all that there are.

    Parameters
    ----------
    content : object
        What the file holds.
    path : Path
        The file, to be named.
    wanted : str or None
        ``ema``, ``raw`` or a name in the file. Without it the averaged weights are taken, as timm and torchvision's
        scripts do; the caller says so.

    Raises
    ------
    CheckpointError
        If there is none, or several and no reason to take one of them.
    """
    found = find(content)
    sets = _distinct(_large(found.weights))
    if not sets and (alone := _masks_alone(found.masks)):
        return alone, [alone], Contents([], [])
    if not sets:
        raise CheckpointError(
            f"{path} holds no state dict but {_what(content)}", "it must hold a network's state_dict()"
        )
    fitting = [w for w in sets if matches(w.place, wanted, w.averaged)] if wanted else sets
    if not wanted and any(w.averaged for w in sets):
        fitting = [w for w in sets if w.averaged]
    if wanted and not fitting:
        fitting = [w for w in sets if _may_hold(w, wanted)]
    if wanted and not fitting and len(sets) == 1 and not sets[0].averaged:
        fitting = sets  # names may say which: student., teacher.
    if not wanted and not any(w.averaged for w in sets):
        _refuse_unnamed(found.unnamed, sets, path)
    if len(fitting) == 1:
        return fitting[0], sets, found
    raise ambiguous(path, [w.place or "the top level" for w in (fitting or sets)], wanted if not fitting else None)


def _masks_alone(masks: list[tuple[str, Any]]) -> Weights | None:
    """Return the masks of a file that holds no weights, as a set of tensors; None unless there is one mapping."""
    found = [Weights(place, dict(tensors_in(value))) for place, value in masks if isinstance(value, Mapping)]
    found = [each for each in found if each.tensors]
    return found[0] if len(found) == 1 else None


def _may_hold(weights: Weights, wanted: str) -> bool:
    """Return whether a set of weights is several networks', one of which is meant: ``ema.ema_model``, ``ema_model``."""
    return wanted.startswith(f"{weights.place}.") or any(name.startswith(f"{wanted}.") for name in weights.tensors)


def _refuse_unnamed(unnamed: list[Weights], sets: list[Weights], path: Path) -> None:
    """Refuse to take weights in silence where averages of them lie beside, in a list without names."""
    for average in unnamed:
        if 10 * average.size >= max(w.size for w in sets):
            raise CheckpointError(
                f"{path} holds averaged weights under {average.place}, but not which tensors they are of",
                f"save the averaged network's state_dict(); {path.name}#raw takes the weights that aren't averages",
            )


def ambiguous(path: Path, places: list[str], wanted: str | None) -> CheckpointError:
    """Return the error of a file with several sets of weights, or without the one that was asked for."""
    names = ", ".join(places)
    if wanted is not None:
        what = {"ema": "averaged weights", "raw": "weights that aren't averages"}.get(
            wanted, f"weights named {wanted!r}"
        )
        return CheckpointError(
            f"{path} holds no {what}; it holds: {names}", "name one of these, or leave the choice out"
        )
    return CheckpointError(
        f"{path} holds several sets of weights: {names}",
        f"name one: FILE#{places[-1]} on the command line, weights: {places[-1]} in a registry entry",
    )


def warn_of_choice(path: Path, taken: str, others: str) -> None:
    """Say that averaged weights were taken, and what was not."""
    warnings.warn(
        f"{path} holds averaged weights beside others: {taken} is taken, not {others} ({path.name}#raw takes those)",
        stacklevel=3,
    )


def find(content: Any) -> Contents:
    """Return every set of weights in a loaded object, but for an optimizer's, and what may be masks."""
    found = Contents([], [])
    _walk(content, (), found)
    several = [w for w in found.weights if any(value.ndim > 1 for value in w.tensors.values())]
    trained = [w for w in several if not _INITIAL.search(w.place)]
    return Contents(trained or several or found.weights, found.masks, found.unnamed)


def _walk(value: Any, place: tuple[str, ...], found: Contents) -> None:
    if len(place) > _DEPTH or id(value) in found.seen:  # one object may lie in many places
        return
    found.seen.add(id(value))
    if isinstance(value, Placeholder):
        if _is_module(value):
            _add(dict(islice(_module_state(value), _MOST_TENSORS)), place, found)
            return
        value = value.items_set or value.state or list(value)
    if isinstance(value, list | tuple):
        unnamed = {str(number): item for number, item in enumerate(value) if isinstance(item, Tensor)}
        if unnamed and is_averaged(".".join(place)):
            found.unnamed.append(Weights(".".join(place), unnamed))
        for number, item in enumerate(value[:16]):
            if isinstance(item, Mapping | Placeholder):
                _walk(item, (*place, str(number)), found)
    if not isinstance(value, Mapping) or "param_groups" in value:
        return
    _add(value, place, found)
    for key, item in value.items():
        name = str(key)
        if isinstance(item, Tensor):
            if _is_mask_vector(name, item):
                found.masks.append((".".join((*place, name)), item))
        elif not isinstance(item, Mapping | Placeholder | list | tuple):
            continue
        elif _MASKS.search(name):
            found.masks.append((".".join((*place, name)), item))
        elif not _NOT_WEIGHTS.search(name):
            _walk(item, (*place, name), found)


def _add(mapping: Mapping[Any, Any], place: tuple[str, ...], found: Contents) -> None:
    tensors = {
        str(key): value
        for key, value in mapping.items()
        if isinstance(value, Tensor) and not _is_mask_vector(str(key), value)
    }
    if all(is_number(unwrapped(name), value) for name, value in tensors.items()):
        return
    for key, value in mapping.items():
        if isinstance(value, Placeholder) and "." in str(key) and not str(key).endswith("_extra_state"):
            raise CheckpointError(
                f"{key} is no plain tensor, but an object that isn't read", "save it as an ordinary tensor"
            )
    found.weights.append(Weights(".".join(place), tensors))


def _is_mask_vector(name: str, value: Tensor) -> bool:
    return "." not in name and _MASKS.search(name) is not None and value.ndim == 1 and value.numel() > 1


def _is_module(value: Placeholder) -> bool:
    return isinstance(value.state, Mapping) and "_modules" in value.state and "_parameters" in value.state


def _module_state(module: Placeholder, prefix: str = "", within: tuple[int, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Yield the state dict of a network that was saved as a whole, from what its pickle says of it."""
    state, within = module.state, (*within, id(module))
    hidden = state.get("_non_persistent_buffers_set") or ()
    for part in ("_parameters", "_buffers"):
        own = state.get(part)
        for name, value in own.items() if isinstance(own, Mapping) else ():
            if isinstance(value, Tensor) and name not in hidden:
                yield f"{prefix}{name}", value
    children = state["_modules"]
    for name, child in children.items() if isinstance(children, Mapping) else ():
        if isinstance(child, Placeholder) and _is_module(child) and id(child) not in within:
            yield from _module_state(child, f"{prefix}{name}.", within)


def _large(sets: list[Weights]) -> list[Weights]:
    """Return the sets that can be the network: others are of losses, small heads, tables of results."""
    largest = max((w.size for w in sets), default=0)
    return [w for w in sets if 10 * w.size >= largest]


def _distinct(sets: list[Weights]) -> list[Weights]:
    kept: list[Weights] = []
    for weights in sets:
        if not any(_equal(weights, other) for other in kept):
            kept.append(weights)
    return kept


def _equal(one: Weights, other: Weights) -> bool:
    mine = {unwrapped(name): value for name, value in one.tensors.items()}
    theirs = {unwrapped(name): value for name, value in other.tensors.items()}
    return mine.keys() == theirs.keys() and all(same(value, theirs[name]) for name, value in mine.items())


def _what(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}" if not isinstance(content, Placeholder) else "an object"
    return (
        "a mapping with keys " + ", ".join(repr(str(key)) for key in list(content)[:5])
        if content
        else "an empty mapping"
    )


_ARCHITECTURE = ("model", "arch", "model_name", "architecture", "backbone")


def architectures_named(content: Any) -> tuple[str, ...]:
    """Return what a file calls its network's architecture: the options of its training, then its own key ``arch``."""
    if not isinstance(content, Mapping):
        return ()
    found: list[str] = []
    for holder in ("args", "hyper_parameters", "hparams", "config", "cfg", None):
        options = content if holder is None else content.get(holder)
        if isinstance(options, Placeholder):
            options = options.items_set or options.state
        if isinstance(options, Mapping):
            found += [options[key] for key in _ARCHITECTURE if isinstance(options.get(key), str)]
    return tuple(dict.fromkeys(name for name in found if len(name) < 100))
