"""The pruning methods: one module each, found here; others come from entry points and from a user's own file.

A method is a subclass of :class:`~sparsebench.pruning.base.PruningMethod` with a ``name``. Another package adds one by
an entry point of the group ``sparsebench.methods`` whose value is the class.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ...extensions.discovery import ExtensionWarning, installed, modules
from ...extensions.table import declared_in
from ...registry.names import method_id
from ...schema import InputError, UnknownNameError
from ..base import PruningMethod

GROUP = "sparsebench.methods"
"""The entry points by which other packages add methods."""


@cache
def methods() -> Mapping[str, type[PruningMethod]]:
    """Return the known methods by id, in the order of tables and legends.

    A method of another package whose name is taken, or that is no method, is left out with a warning.
    """
    found: dict[str, type[PruningMethod]] = {}
    for module in modules(__name__):
        found |= {method.name: method for method in _declared(module)}
    for origin, value in installed(GROUP):
        problem = "is no PruningMethod with a name" if not _is_method(value) else ""
        if not problem and value.name in found:
            problem = f"has the name {value.name!r}, which is taken"
        if problem:
            warnings.warn(f"{GROUP}: {origin} {problem}", ExtensionWarning, stacklevel=2)
        else:
            found[value.name] = value
    return MappingProxyType(dict(sorted(found.items(), key=lambda item: (item[1].place, item[0]))))


def get_method(name: str) -> type[PruningMethod]:
    """Return the class of a pruning method, under any spelling of its name, or the one in a ``.py`` file of that name.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    InputError
        If the file has no single method, or one whose name is taken.
    """
    if name.endswith(".py"):
        return _from_file(Path(name).expanduser())
    known = methods()
    if method_id(name) not in known:
        raise UnknownNameError("pruning method", name, known)
    return known[method_id(name)]


def _is_method(value: Any) -> bool:
    named = isinstance(value, type) and issubclass(value, PruningMethod)
    return named and isinstance(getattr(value, "name", None), str)


def _declared(module: ModuleType) -> list[type[PruningMethod]]:
    """Return the methods that a module itself defines."""
    return [v for v in vars(module).values() if _is_method(v) and v.__module__ == module.__name__ and "name" in vars(v)]


def _from_file(path: Path) -> type[PruningMethod]:
    """Run a user's Python file and return the method that it defines; nothing is registered."""
    known = methods()
    example = "define one subclass of sparsebench.pruning.base.PruningMethod, with a 'name' of its own"

    def accepts(value: Any) -> bool:
        return _is_method(value) and "name" in vars(value)

    method: type[PruningMethod] = declared_in(path, "pruning method", accepts, example, known)
    if method_id(method.name) in known:
        raise InputError(f"{path}: the name {method.name!r} is taken", "give the method another name")
    return method
