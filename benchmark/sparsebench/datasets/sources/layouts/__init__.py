"""One module a data set: how it lies on disk, and how its annotations are read."""

from __future__ import annotations

from importlib import import_module

from .base import PARTS, Layout, Listing

__all__ = ["LAYOUTS", "PARTS", "Layout", "Listing", "layout_of"]

LAYOUTS: tuple[str, ...] = (
    "aircraft",
    "birdsnap",
    "caltech101",
    "caltech256",
    "cars",
    "dtd",
    "flowers102",
    "food101",
    "pets",
    "sun397",
)
"""The data sets with a layout here: each is a loader of that name."""

_MODULES = {"caltech101": "caltech", "caltech256": "caltech"}


def layout_of(name: str) -> Layout:
    """Return the layout of a data set, importing its module alone."""
    layout: Layout = getattr(import_module(f".{_MODULES.get(name, name)}", __name__), name.upper())
    return layout
