"""Labels beside the points of a panel, each where it covers neither a point nor another label, or left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .canvas import FONT_SIZE
from .panel import Dot

_SIZE = FONT_SIZE - 2
_CHARACTER = _SIZE * 0.62 / 72  # inches
_HEIGHT = _SIZE / 72
_REACH = 0.045  # inches from a point to its label
_STEP = 0.02  # inches between the boxes of a line
_POINT = 0.035  # half a marker, in inches

Box = tuple[float, float, float, float]


def place_labels(axes: Any, size: tuple[float, float], dots: Sequence[Dot]) -> None:
    """Write each point's label around it, where it covers no point, label or line of a series; limits must be set."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    points = [((d.x - left) / (right - left) * size[0], (d.y - bottom) / (top - bottom) * size[1]) for d in dots]
    taken: list[Box] = [(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y in points]
    taken += _lines(dots, points)
    for dot, (x, y) in zip(dots, points, strict=True):
        length = len(dot.label) * _CHARACTER
        own = (x - _POINT, y - _POINT, x + _POINT, y + _POINT)
        for at in _candidates(x, y, length):
            box = (at[0] - length / 2, at[1] - _HEIGHT / 2, at[0] + length / 2, at[1] + _HEIGHT / 2)
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= size[0] and box[3] <= size[1]
            if dot.label and inside and not any(_overlap(box, other) for other in taken if other != own):
                axes.text(
                    at[0] / size[0],
                    at[1] / size[1],
                    dot.label,
                    transform=axes.transAxes,
                    ha="center",
                    va="center_baseline",
                    fontsize=_SIZE,
                    color="#333333",
                    zorder=5,
                )
                taken.append(box)
                break


def _candidates(x: float, y: float, length: float) -> list[tuple[float, float]]:
    """Return the middles of a label around a point."""
    aside, above = _REACH + length / 2, _REACH + _HEIGHT / 2
    straight = [(x, y + above), (x + aside, y), (x - aside, y), (x, y - above)]
    return straight + [(x + a * aside, y + b * above) for a in (0.8, -0.8) for b in (0.8, -0.8)]


def _lines(dots: Sequence[Dot], points: Sequence[tuple[float, float]]) -> list[Box]:
    """Return the lines that join the points of each series, as boxes along them."""
    boxes: list[Box] = []
    for (one, start), (other, end) in pairwise(zip(dots, points, strict=True)):
        if one.series == other.series and one.series.line_style != "none":
            steps = 1 + int(math.dist(start, end) / _STEP)
            for step in range(steps + 1):
                x, y = (a + (b - a) * step / steps for a, b in zip(start, end, strict=True))
                boxes.append((x, y, x, y))
    return boxes


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
