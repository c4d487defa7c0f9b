"""What a panel's axis spans: outliers far on the worse side are taken off it, so that the others stay legible.

An outlier is drawn in a strip at the panel's edge, with its value beside it; nothing is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .canvas import FONT_SIZE

Worse: TypeAlias = Literal["high", "low"] | None
"""On which side values are worse: high for errors, low for accuracies; none where no point may leave the axis."""

LABEL_SIZE = FONT_SIZE - 2
ROW = 0.125
"""Height in inches of a row of the strip."""

_WORTH = 0.6  # a strip must shrink the axis to this part at least
_FEWEST = 5  # values from which on one can be called an outlier
_MARGIN = 0.08  # of the range, at both ends
_CHARACTER = LABEL_SIZE * 0.62 / 72  # inches
_GAP = 0.04  # inches between a label and the next marker
_MARKER = 0.06  # inches from the middle of a marker to its label


@dataclass(frozen=True)
class Scale:
    """The range of an axis, and beyond which value (``nan`` for none) a point is off it, on the worse side."""

    low: float
    high: float
    fence: float
    worse: Worse

    @classmethod
    def of(cls, values: Sequence[float], also: Iterable[float], worse: Worse) -> Scale:
        """Choose the range for values, and for what else must lie in it (reference lines, ends of bars).

        Outliers are those beyond Tukey's fence, the quartile on the worse side and 1.5 interquartile ranges; they are
        taken off the axis if that makes it much shorter. ``also`` widens the range unless it is beyond the fence.
        """
        sign = -1.0 if worse == "low" else 1.0
        limit = _fence(sorted(sign * v for v in values)) if worse else math.inf
        inside = [v for v in values if sign * v <= limit]
        others = list(also)
        near = [v for v in others if sign * v <= limit]
        low, high = _range([*inside, *near])
        whole = _range([*values, *others])
        if len(inside) == len(values) or high - low > _WORTH * (whole[1] - whole[0]):
            low, high, limit = *whole, math.nan
        margin = _MARGIN * (high - low or 0.02)
        return cls(low - margin, high + margin, sign * limit, worse)

    def is_off(self, value: float) -> bool:
        """Return whether a value is drawn in the strip."""
        return value > self.fence if self.worse == "high" else value < self.fence  # False for nan


@dataclass(frozen=True)
class Place:
    """Where an outlier stands in the strip: its row, counted from the range's end, and its label's side."""

    row: int
    side: Literal["left", "right"]


def arrange(places: Sequence[float], texts: Sequence[str], width: float) -> list[Place]:
    """Return where outliers stand so that no label covers another.

    Parameters
    ----------
    places : sequence of float
        Horizontal positions in inches, the mildest outlier first.
    texts : sequence of str
        Their labels.
    width : float
        The panel's, in inches.
    """
    rows: list[list[tuple[float, float]]] = []
    found = []
    for x, text in zip(places, texts, strict=True):
        length = _MARKER + len(text) * _CHARACTER + _GAP
        side: Literal["left", "right"] = "right" if x + length - _GAP <= width else "left"
        box = (x - _MARKER, x + length) if side == "right" else (x - length, x + _MARKER)
        free = (i for i, row in enumerate(rows) if all(box[1] <= b[0] or box[0] >= b[1] for b in row))
        row = next(free, len(rows))
        rows += [[]] if row == len(rows) else []
        rows[row].append(box)
        found.append(Place(row, side))
    return found


def _fence(ascending: list[float]) -> float:
    if len(ascending) < _FEWEST:
        return math.inf
    first, third = (_quantile(ascending, q) for q in (0.25, 0.75))
    return third + 1.5 * (third - first)


def _quantile(ascending: list[float], share: float) -> float:
    """Return a quantile, linearly interpolated."""
    place = share * (len(ascending) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (place - below) * (ascending[above] - ascending[below])


def _range(values: list[float]) -> tuple[float, float]:
    return (min(values), max(values)) if values else (0.0, 0.0)
