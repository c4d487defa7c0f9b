"""Classes of the style sheet for the colours of methods."""

from __future__ import annotations

from ..style import DENSE_COLOUR
from .colours import DARK, LIGHT, readable


class Palette:
    """Gives each colour a class, in the order in which they are asked for."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        self.key(DENSE_COLOUR)

    def key(self, colour: str) -> str:
        """Return the class of a colour."""
        return self._keys.setdefault(colour, f"k{len(self._keys)}")

    def css(self) -> str:
        """Return the rules: a colour on a light page, and one on a dark page."""
        light = "".join(f".{key}{{--k:{readable(colour, LIGHT)}}}" for colour, key in self._keys.items())
        dark = "".join(f".{key}{{--k:{readable(colour, DARK)}}}" for colour, key in self._keys.items())
        return f"{light}@media screen and (prefers-color-scheme:dark){{{dark}}}"
