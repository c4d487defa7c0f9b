"""Charts of a board: marks with a Pareto front over an axis, interval bars in a table, bars by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from .svg import Scale, element, mark_id, number, polyline, short

WIDTH, HEIGHT = 460.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 14.0, 44.0
BAR = 150.0
_BAR_HEIGHT = 18.0
PLOT = (_LEFT, WIDTH - _RIGHT)
"""Where the horizontal axis of a chart begins and ends."""


@dataclass(frozen=True)
class Mark:
    """One entry in a chart, at the row of the board that describes it."""

    row: int
    x: float
    y: float
    key: str  # the class that colours it
    marker: str
    series: str
    fill: str = ""  # solid, pale or hollow


@dataclass(frozen=True)
class Axis:
    """A horizontal axis: its title, where values lie, and labels by value."""

    title: str
    scale: Scale
    labels: tuple[tuple[float, str], ...]

    @classmethod
    def of(cls, title: str, values: Sequence[float], *, log: bool = False) -> Axis:
        """Return the axis of measured values."""
        scale = Scale.around(values, _LEFT, WIDTH - _RIGHT, log=log)
        return cls(title, scale, tuple((tick, short(tick)) for tick in scale.ticks()))


def scatter(name: str, marks: Sequence[Mark], x: Axis, y_title: str, *, better: str, lines: bool = False) -> Markup:
    """Return a chart of marks with the Pareto front: the entries that none beats on both axes.

    Parameters
    ----------
    name : str
        What the chart shows, for a reader who doesn't see it.
    marks : sequence of Mark
        The entries.
    x : Axis
        The horizontal axis; the vertical one is made from the marks.
    y_title : str
        The vertical axis' title.
    better : {"left", "right"}
        The better end of the horizontal axis; up is better.
    lines : bool
        Whether to join the marks of a series.
    """
    y = Scale.around([mark.y for mark in marks], HEIGHT - _BOTTOM, _TOP)
    places = [(x.scale(mark.x), y(mark.y)) for mark in marks]
    parts = [*_grid(x, y, y_title)]
    if lines:
        for series in dict.fromkeys(mark.series for mark in marks):
            own = [(place, mark) for place, mark in zip(places, marks, strict=True) if mark.series == series]
            if len(own) > 1:
                own.sort(key=lambda item: item[0])
                key = own[0][1].key
                parts.append(
                    element("path", class_=f"line {key}", data_series=series, d=polyline(place for place, _ in own))
                )
    front = pareto(places, better)
    parts.append(element("path", class_="front", data_better=better, d=_steps([places[at] for at in front], better)))
    drawn = sorted(zip(places, marks, strict=True), key=lambda item: item[1].row, reverse=True)
    for (px, py), mark in drawn:
        parts.append(
            element(
                "use",
                href=f"#{mark_id(mark.marker)}",
                class_=f"mark {mark.key} {mark.fill}".rstrip(),
                data_row=mark.row,
                data_series=mark.series if lines else None,
                transform=f"translate({number(px)} {number(py)})",
            )
        )
    return element(
        "svg", *parts, viewBox=f"0 0 {number(WIDTH)} {number(HEIGHT)}", role="img", aria_label=name, class_="plot"
    )


def pareto(places: Sequence[tuple[float, float]], better: str) -> list[int]:
    """Return the places that none dominates, from the better end on; positions on the screen, so less is higher."""
    sign = 1.0 if better == "left" else -1.0
    order = sorted(range(len(places)), key=lambda at: (sign * places[at][0], places[at][1]))
    front: list[int] = []
    for at in order:
        if not front or places[at][1] < places[front[-1]][1]:
            front.append(at)
    return front


def _steps(points: Sequence[tuple[float, float]], better: str) -> str:
    """Return a front as a staircase: at each place the best that is there or better."""
    if not points:
        return "M0 0"
    path = [points[0]]
    for (_, before), (x, y) in pairwise(points):
        path += [(x, before), (x, y)]
    return polyline(path)


def _grid(x: Axis, y: Scale, y_title: str) -> list[Markup]:
    """Return grid lines, tick labels and titles."""
    left, right, bottom = _LEFT, WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for tick in y.ticks(5):
        at = y(tick)
        parts.append(element("path", class_="grid", d=f"M{number(left)} {number(at)}H{number(right)}"))
        parts.append(element("text", short(tick), class_="tick end", x=left - 7, y=at + 4))
    for value, label in x.labels:
        at = x.scale(value)
        parts.append(element("path", class_="stub", d=f"M{number(at)} {number(bottom)}v4"))
        parts.append(element("text", label, class_="tick mid", x=at, y=bottom + 18))
    parts.append(element("path", class_="base", d=f"M{number(left)} {number(bottom)}H{number(right)}"))
    parts.append(element("text", x.title, class_="title mid", x=(left + right) / 2, y=HEIGHT - 6))
    middle = (_TOP + bottom) / 2
    parts.append(element("text", y_title, class_="title mid", transform=f"translate(11 {number(middle)}) rotate(-90)"))
    return parts


@dataclass(frozen=True)
class IntervalBars:
    """Intervals of one board on one axis, as bars in the fields of a table."""

    scale: Scale

    @classmethod
    def of(cls, values: Sequence[tuple[float, float, float]]) -> IntervalBars:
        """Return the bars of (value, low, high); what lies far beyond the others is cut at the edge."""
        ends = sorted(v for triple in values for v in triple if math.isfinite(v))
        if not ends:
            return cls(Scale(-0.1, 0.1, 3, BAR - 3))
        low, high = ends[len(ends) // 4], ends[-1 - len(ends) // 4]
        beyond = 2.0 * (high - low) or math.inf
        span = (0.0, *(value for value in ends if low - beyond <= value <= high + beyond))
        return cls(Scale.around(span, 3, BAR - 3, margin=0.02))

    def bar(self, value: float, low: float, high: float, key: str) -> Markup:
        """Return the bar of one interval: a point, and a line over what its interval covers."""
        if not math.isfinite(value):
            return Markup("")
        middle = _BAR_HEIGHT / 2
        parts = [element("path", class_="zero", d=f"M{number(self._at(0.0))} 0v{number(_BAR_HEIGHT)}")]
        if math.isfinite(low) and high > low:
            line = f"M{number(self._at(low))} {number(middle)}H{number(self._at(high))}"
            parts.append(element("path", class_=f"whisker {key}", d=line))
        if self.scale.low <= value <= self.scale.high:
            parts.append(element("circle", class_=f"point {key}", cx=self._at(value), cy=middle, r="3.5"))
        for outside, tip in ((high > self.scale.high, f"M{number(BAR - 5)} {number(middle - 4)}l4 4l-4 4"),
                             (low < self.scale.low, f"M5 {number(middle - 4)}l-4 4l4 4")):  # fmt: skip
            if outside:
                parts.append(element("path", class_=f"whisker {key}", d=tip))
        return self._svg(parts, _BAR_HEIGHT)

    def axis(self) -> Markup:
        """Return the axis, for the head of the column."""
        ticks = self.scale.ticks(3)
        parts = []
        for tick in ticks:
            at = self._at(tick)
            where = "start" if at < 12 else "end" if at > BAR - 12 else "mid"
            parts.append(element("text", short(100 * tick), class_=f"tick {where}", x=at, y=10))
            parts.append(element("path", class_="stub", d=f"M{number(at)} 13v4"))
        return self._svg(parts, _BAR_HEIGHT)

    def _at(self, value: float) -> float:
        return min(max(self.scale(value), 1.0), BAR - 1.0)

    @staticmethod
    def _svg(parts: Sequence[Markup], height: float) -> Markup:
        size = f"0 0 {number(BAR)} {number(height)}"
        return element(
            "svg", *parts, viewBox=size, width=number(BAR), height=number(height), class_="bar", aria_hidden="true"
        )


def layer_bars(name: str, layers: Sequence[float]) -> Markup:
    """Return a bar per layer with its sparsity, first to last."""
    height, left, bottom = 150.0, 48.0, 22.0
    step = min(26.0, 760.0 / max(1, len(layers)))
    width = left + max(step * len(layers), 90.0)
    gap = min(2.0, step * 0.2)
    base = height - bottom
    parts = []
    for share in (0.0, 0.5, 1.0):
        at = 8 + (base - 8) * (1 - share)
        parts.append(
            element("path", class_="grid" if share else "base", d=f"M{number(left)} {number(at)}H{number(width)}")
        )
        parts.append(element("text", f"{100 * share:.0f} %", class_="tick end", x=left - 6, y=at + 4))
    bars = ""
    for at, sparsity in enumerate(layers):
        tall = number(max((base - 8) * sparsity, 0.8))
        bars += f"M{number(left + (at + 0.5) * step)} {number(base)}v-{tall}"
    parts.append(element("path", class_="layer", stroke_width=step - gap, d=bars))
    parts.append(
        element(
            "path",
            class_="sense",
            d=f"M{number(left)} 8H{number(left + step * len(layers))}V{number(base)}H{number(left)}z",
        )
    )
    parts.append(element("text", "input", class_="tick start", x=left, y=height - 5))
    parts.append(element("text", "output", class_="tick end", x=width, y=height - 5))
    return element(
        "svg", *parts, viewBox=f"0 0 {number(width)} {number(height)}", role="img", aria_label=name, class_="layers",
        style=f"max-width:{number(width)}px", data_left=number(left), data_step=f"{step:.3f}",
    )  # fmt: skip
