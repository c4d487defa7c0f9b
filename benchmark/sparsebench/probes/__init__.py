"""Classifiers on frozen features: a probe is one module of this package with a function ``fit``, entered in a table."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from ..schema import UnknownNameError

if TYPE_CHECKING:
    from .base import LinearHead

PROBES: dict[str, str] = {"sgd": "sgd"}
"""Name of a probe to the module of this package that fits it."""


def get(name: str) -> Callable[..., LinearHead]:
    """Return the ``fit(x, y, num_classes, protocol, seed, *, device, progress)`` of a probe.

    Raises
    ------
    UnknownNameError
        If no probe has this name.
    """
    if name not in PROBES:
        raise UnknownNameError("probe", name, PROBES)
    return cast("Callable[..., LinearHead]", importlib.import_module(f".{PROBES[name]}", __name__).fit)


__all__ = ["PROBES", "get"]
