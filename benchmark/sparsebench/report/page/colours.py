"""The methods' colours on white and on a dark page, kept as far from the background as graphics need."""

from __future__ import annotations

from typing import Final

from ..style import method_colour

LIGHT: Final = "#ffffff"
DARK: Final = "#14171a"
CONTRAST: Final = 3.0
"""What WCAG 2.2 asks of graphics (1.4.11)."""

Channels = tuple[float, ...]


def page_colours(method: str) -> tuple[str, str]:
    """Return a method's colour on a light and on a dark page."""
    colour = method_colour(method)
    return readable(colour, LIGHT), readable(colour, DARK)


def readable(colour: str, background: str) -> str:
    """Return a colour, darker or lighter by as little as gives :data:`CONTRAST` on a background."""
    own = _channels(colour)
    towards = (0.0, 0.0, 0.0) if _luminance(_channels(background)) > 0.5 else (1.0, 1.0, 1.0)
    for step in range(101):
        mixed = tuple(c + (t - c) * step / 100 for c, t in zip(own, towards, strict=True))
        if contrast(_text(mixed), background) >= CONTRAST:
            return _text(mixed)
    return _text(towards)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    bright, dark = sorted((_luminance(_channels(one)), _luminance(_channels(other))), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _channels(colour: str) -> Channels:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def _text(channels: Channels) -> str:
    return "#" + "".join(f"{round(255 * c):02x}" for c in channels)


def _luminance(channels: Channels) -> float:
    """Return the relative luminance of sRGB channels."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
