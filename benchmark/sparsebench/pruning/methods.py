"""The table of pruning methods; a new method is one file and one entry here."""

from __future__ import annotations

from ..schema import UnknownNameError
from .acdc import ACDC
from .base import PruningMethod
from .dense import Dense
from .gmp import GMP

METHODS: dict[str, type[PruningMethod]] = {method.name: method for method in (Dense, GMP, ACDC)}


def get_method(name: str) -> type[PruningMethod]:
    """Return the class of a pruning method.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    if name not in METHODS:
        raise UnknownNameError("pruning method", name, METHODS)
    return METHODS[name]
