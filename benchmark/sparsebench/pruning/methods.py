"""The table of pruning methods; a new method is one file and one entry here."""

from __future__ import annotations

from ..names import method_id
from ..schema import UnknownNameError
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
    """Return the class of a pruning method, under any spelling of its name.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    if method_id(name) not in METHODS:
        raise UnknownNameError("pruning method", name, METHODS)
    return METHODS[method_id(name)]
