"""Where extensions are found: modules of a package of ours, and entry points of other installed packages.

What this yields names no class, so that layers below an extension's own can read names, titles and colours from it.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any


class ExtensionWarning(UserWarning):
    """An extension of another package that can't be used."""


def modules(package: str) -> Iterator[ModuleType]:
    """Yield the modules of a package, imported, by name."""
    found = importlib.import_module(package)
    for module in sorted(pkgutil.iter_modules(found.__path__), key=lambda m: m.name):
        yield importlib.import_module(f"{package}.{module.name}")


def installed(group: str) -> Iterator[tuple[str, Any]]:
    """Yield what other packages declare in a group of entry points, each with where it is from.

    One that can't be loaded is left out, with an :class:`ExtensionWarning`: it must not break what doesn't need it.
    """
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, p.value)):
        origin = f"{point.value} of {point.dist.name}" if point.dist is not None else point.value
        try:
            yield origin, point.load()
        except Exception as error:  # somebody else's module may raise anything
            warnings.warn(f"{group}: {origin} can't be loaded: {error}", ExtensionWarning, stacklevel=2)
