"""Small pieces of SVG: elements, marks, axes. Text is escaped, numbers are short, colours are classes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

_STARS = {"*": (5, 0.42, 1.45), "P": (4, 0.52, 1.3), "X": (4, 0.52, 1.3)}
_POLYGONS = {
    "^": (3, -90.0, 1.25), "v": (3, 90.0, 1.25), "<": (3, 180.0, 1.25), ">": (3, 0.0, 1.25), "s": (4, 45.0, 1.2),
    "D": (4, 0.0, 1.2), "d": (4, 0.0, 1.0), "p": (5, -90.0, 1.15), "h": (6, -90.0, 1.1), "H": (6, 0.0, 1.1),
    "8": (8, 22.5, 1.1),
}  # fmt: skip


def number(value: float) -> str:
    """Return a coordinate with at most one decimal."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """Return an element; an underscore in an attribute's name is a hyphen, None leaves it out, floats are rounded."""
    parts = [tag]
    for name, value in attributes.items():
        if value is not None:
            text = number(value) if isinstance(value, float) else value
            parts.append(f'{name.rstrip("_").replace("_", "-")}="{escape(text)}"')
    inner = "".join(str(escape(child)) for child in children if child is not None)
    return Markup(f"<{' '.join(parts)}>{inner}</{tag}>" if inner else f"<{' '.join(parts)}/>")  # noqa: S704 (escaped)


def join(parts: Iterable[Any]) -> Markup:
    """Return pieces one after another."""
    return Markup("").join(parts)


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Return the path through points."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def mark_path(marker: str, size: float = 5.0) -> str:
    """Return the outline around (0, 0) of a marker, by matplotlib's name for it; an unknown one is a circle."""
    if marker in _POLYGONS:
        corners, start, scale = _POLYGONS[marker]
        radii, turn = [size * scale], 360.0 / corners
    elif marker in _STARS:
        corners, inner, scale = _STARS[marker]
        start = -90.0 if marker != "X" else -45.0
        radii, turn = [size * scale, size * scale * inner], 180.0 / corners
        corners *= 2
    else:
        r = number(size)
        return f"M-{r} 0a{r} {r} 0 1 0 {number(2 * size)} 0a{r} {r} 0 1 0 -{number(2 * size)} 0z"
    angles = [math.radians(start + turn * k) for k in range(corners)]
    radius = [radii[k % len(radii)] for k in range(corners)]
    return polyline((r * math.cos(a), r * math.sin(a)) for r, a in zip(radius, angles, strict=True)) + "z"


def mark_id(marker: str) -> str:
    """Return the id of a marker's outline, which the page holds once."""
    return f"m{ord(marker)}" if marker in _POLYGONS or marker in _STARS else "m"


def mark_outlines() -> Markup:
    """Return the outlines of all markers, for charts and legends to refer to."""
    return join(element("path", id=mark_id(one), d=mark_path(one)) for one in ("o", *_POLYGONS, *_STARS))


@dataclass(frozen=True)
class Scale:
    """Values to positions along an axis, linear or logarithmic, with ticks at round values."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def around(
        cls, values: Iterable[float], start: float, end: float, *, log: bool = False, margin: float = 0.06
    ) -> Scale:
        """Return a scale that holds values with a margin at both ends; one value gets a range around it."""
        found = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
        own = [math.log(v) for v in found] if log else found
        low, high = min(own), max(own)
        extra = (high - low) * margin if high > low else max(abs(high) * 0.1, 0.05)
        low, high = low - extra, high + extra
        return cls(math.exp(low), math.exp(high), start, end, True) if log else cls(low, high, start, end)

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values within the scale."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)) - 1, math.ceil(math.log10(self.high)) + 1)
            for steps in ((1, 2, 5), (1, 3), (1,)):
                found = [s * 10.0**d for d in decades for s in steps if self.low <= s * 10.0**d <= self.high]
                if len(found) <= most:
                    break
            return found if len(found) > 1 else Scale(self.low, self.high, 0, 1).ticks(most)
        from matplotlib.ticker import MaxNLocator

        values = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        return [float(v) for v in values if self.low <= v <= self.high]


def short(value: float) -> str:
    """Return a tick's label, with a real minus and no needless zeros."""
    text = f"{value:,.6g}" if abs(value) >= 1 else f"{value:.3g}"
    return ("0" if float(text.replace(",", "")) == 0 else text).replace("-", "−")
