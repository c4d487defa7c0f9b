"""The table of pruning methods; a new one is a file with an entry here, or a user's own file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..names import method_id
from ..schema import InputError, UnknownNameError
from .acdc import ACDC
from .base import PruningMethod
from .cram import CrAM
from .dense import Dense
from .gmp import GMP
from .lth import LTH
from .magnitude import Magnitude
from .mfac import MFAC
from .rigl import RigL
from .soft_threshold import STR
from .woodfisher import WoodFisher

METHODS: dict[str, type[PruningMethod]] = {
    method.name: method for method in (Dense, Magnitude, GMP, WoodFisher, MFAC, LTH, ACDC, RigL, STR, CrAM)
}


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
    if method_id(name) not in METHODS:
        raise UnknownNameError("pruning method", name, METHODS)
    return METHODS[method_id(name)]


def _from_file(path: Path) -> type[PruningMethod]:
    """Run a user's Python file and register the method that it defines."""
    spec = importlib.util.spec_from_file_location(f"sparsebench_method_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(f"there is no file {path}", "give a method's name, or the Python file that defines one")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file may raise anything
        raise InputError(f"{path} can't be run: {type(error).__name__}: {error}", "correct the file") from error
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, PruningMethod) and value.__module__ == module.__name__
    ]
    if len(found) != 1 or not isinstance(getattr(found[0], "name", None), str):
        raise InputError(
            f"{path} defines {len(found)} pruning methods with a name",
            "define one subclass of sparsebench.pruning.base.PruningMethod, with a 'name' of its own",
        )
    (method,) = found
    known = METHODS.get(method_id(method.name))
    if known is not None and known.__module__ != module.__name__:
        raise InputError(f"{path}: the name {method.name!r} is taken", "give the method another name")
    METHODS[method.name] = method
    return method
