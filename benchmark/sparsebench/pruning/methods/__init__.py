"""The pruning methods: one module each, found here; others come from entry points and from a user's own file.

A method is a subclass of :class:`~sparsebench.pruning.base.PruningMethod` with a ``name``. Another package adds one by
an entry point of the group ``sparsebench.methods`` whose value is the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...extensions import known as known_extensions
from ...extensions.table import declared_in
from ...registry.names import method_id
from ...schema import InputError, UnknownNameError
from ..base import PruningMethod


def methods() -> Mapping[str, type[PruningMethod]]:
    """Return the known methods by id, in the order of tables and legends.

    A method of another package whose name is taken, or that is no method, is left out with a warning.
    """
    return known_extensions("methods")


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


def _from_file(path: Path) -> type[PruningMethod]:
    """Run a user's Python file and return the method that it defines; nothing is registered."""
    method: type[PruningMethod] = declared_in("methods", path)
    if method_id(method.name) in methods():
        raise InputError(f"{path}: the name {method.name!r} is taken", "give the method another name")
    return method
