"""The one table of what can be added to sparsebench, and how what is declared is found by name."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..schema.errors import InputError, UnknownNameError
from .base import load
from .discovery import ExtensionWarning, file_hash, installed, modules, run_file

MARK = "@"
"""Between the name of an extension from a file and the hash of the file: ``mine@1a2b3c4d``."""


@dataclass(frozen=True)
class Kind:
    """One kind of extension: what it is called, the class of its declarations, and the package of ours.

    Parameters
    ----------
    noun, plural : str
        What one is called, and several.
    base : str
        ``module:Class`` that declarations are objects of.
    package : str
        The package of ours whose modules declare some.
    classes : bool
        Whether a declaration is a subclass with a name, not an object.
    """

    noun: str
    plural: str
    base: str
    package: str
    classes: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether a value is a declaration of this kind."""
        base = load(self.base)
        if not self.classes:
            return isinstance(value, base)  # type: ignore[arg-type]
        return isinstance(value, type) and issubclass(value, base) and "name" in vars(value)  # type: ignore[arg-type]

    @property
    def group(self) -> str:
        """The entry points by which other packages add some."""
        return f"sparsebench.{self.plural}"

    @property
    def example(self) -> str:
        """What a file must have, in words."""
        module, _, name = self.base.partition(":")
        if self.classes:
            return f"declare one subclass of {module}.{name}, with a 'name' of its own"
        return f"declare one object of sparsebench.extensions.{name}"


_BASES = "sparsebench.extensions.kinds"
KINDS: Mapping[str, Kind] = {
    kind.plural: kind
    for kind in (
        Kind("probe", "probes", f"{_BASES}:Probe", "sparsebench.transfer.probes.declared"),
        Kind("engine", "engines", f"{_BASES}:Engine", "sparsebench.engines.declared"),
        Kind("checkpoint format", "formats", f"{_BASES}:CheckpointFormat", "sparsebench.models.formats.declared"),
        Kind("executor", "executors", f"{_BASES}:Executor", "sparsebench.runs.executors.declared"),
        Kind("corruption", "corruptions", f"{_BASES}:Corruption", "sparsebench.datasets.corruptions.declared"),
        Kind("leaderboard column", "columns", f"{_BASES}:LeaderboardColumn", "sparsebench.report.columns"),
        Kind(
            "pruning method", "methods", "sparsebench.pruning.base:PruningMethod", "sparsebench.pruning.methods", True
        ),
    )
}
"""The kinds of extensions, by plural."""

_from_files: dict[str, dict[str, tuple[Any, Path]]] = {plural: {} for plural in KINDS}
"""What files of users have declared in this process: by kind and ``NAME@HASH``, with the file."""


@cache
def ours(plural: str) -> Mapping[str, Any]:
    """Return the extensions of a kind that sparsebench itself declares, by name."""
    kind = KINDS[plural]
    values = [value for module in modules(kind.package) for value in vars(module).values()]
    return MappingProxyType({value.name: value for value in values if kind.accepts(value)})


@cache
def known(plural: str) -> Mapping[str, Any]:
    """Return the extensions of a kind by name, ours and those of other packages, in the order of lists.

    One of another package whose name is taken, or that is none, is left out with a warning.
    """
    kind = KINDS[plural]
    found = dict(ours(plural))
    for origin, value in installed(kind.group):
        problem = "" if kind.accepts(value) else f"is no {kind.noun}"
        if not problem and MARK in value.name:
            problem = f"has a {MARK!r} in its name"
        if not problem and value.name in found:
            problem = f"has the name {value.name!r}, which is taken"
        if problem:
            warnings.warn(f"{kind.group}: {origin} {problem}", ExtensionWarning, stacklevel=2)
        else:
            found[value.name] = value
    return MappingProxyType(dict(sorted(found.items(), key=lambda item: (item[1].place, item[0]))))


def names(plural: str) -> list[str]:
    """Return the names of a kind's extensions, those of files that were loaded last."""
    return [*known(plural), *_from_files[plural]]


def find(plural: str, name: str) -> Any | None:
    """Return an extension by name; None if there is none."""
    own = _from_files[plural].get(name)
    return own[0] if own else known(plural).get(name)


def get(plural: str, name: str) -> Any:
    """Return an extension by name.

    Raises
    ------
    InputError
        If there is none of this name, or it was in a file that isn't here any more or has changed.
    """
    found = find(plural, name)
    if found is None and MARK in name:
        own, _, digest = name.partition(MARK)
        raise InputError(
            f"{KINDS[plural].noun} {own!r} was in a file of hash {digest}, which has changed or isn't here",
            "give the file again",
        )
    if found is None:
        raise UnknownNameError(KINDS[plural].noun, name, names(plural))
    return found


def resolve(plural: str, name: str | Path) -> str:
    """Return the name of an extension: of a Python file, which is run, ``NAME@HASH``; others are returned as they are.

    Raises
    ------
    InputError
        If the file isn't there, raises, or doesn't declare one extension of the kind with a name that is free.
    """
    text = str(name)
    if not text.endswith(".py"):
        return text
    kind, path = KINDS[plural], Path(text).expanduser().resolve()
    digest = file_hash(path, kind.noun)
    for name, (_, loaded) in _from_files[plural].items():
        if loaded == path and name.endswith(f"{MARK}{digest}"):
            return name
    value = declared_in(plural, path)
    full = f"{value.name}{MARK}{digest}"
    _from_files[plural][full] = (replace(value, name=full, title=value.title or value.name), path)
    return full


def declared_in(plural: str, path: Path) -> Any:
    """Run a file, and return the one extension that it declares; what it imports from elsewhere doesn't count.

    Raises
    ------
    InputError
        If the file isn't there, raises, or doesn't declare one extension of the kind with a name that is free.
    """
    kind, taken = KINDS[plural], known(plural)
    module = run_file(path, kind.noun)
    elsewhere = [id(value) for value in taken.values()]
    found = {id(v): v for v in vars(module).values() if kind.accepts(v) and id(v) not in elsewhere}
    own = [value for value in found.values() if not kind.classes or value.__module__ == module.__name__]
    if len(own) != 1:
        raise InputError(f"{path} declares {len(own)} {kind.noun}s", kind.example)
    if MARK in own[0].name:
        raise InputError(f"{path}: the name {own[0].name!r} has a {MARK!r}", f"give the {kind.noun} another name")
    if own[0].name in taken:
        raise InputError(f"{path}: the name {own[0].name!r} is taken", f"give the {kind.noun} another name")
    return own[0]


def given(plural: str, name: str) -> str:
    """Return how an extension is given on a command line: the file that it is from, else its name."""
    own = _from_files[plural].get(name)
    return str(own[1]) if own else name


def loaded_files() -> dict[str, list[str]]:
    """Return the files that have been loaded, by kind: what another process needs to know the same extensions."""
    return {plural: [str(path) for _, path in own.values()] for plural, own in _from_files.items() if own}


def load_files(files: Mapping[str, list[str]]) -> None:
    """Load files, by kind: what :func:`loaded_files` gave in another process.

    What can't be loaded any more is missed where it is used, by :func:`get`.
    """
    for plural, paths in files.items():
        for path in paths:
            with contextlib.suppress(InputError):
                resolve(plural, path)
