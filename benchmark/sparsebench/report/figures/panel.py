"""One panel of a figure: series of points with bars, outliers in a strip at its edge, ticks in percent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .offscale import LABEL_SIZE, ROW, Scale, Worse, arrange
from .series import Series

_STRIP = "In the grey strip: off the scale, with the value."
_NO_BAR = "No bar: one seed."
_CUT = "Bars that reach beyond the panel are cut off at its edge."

_TALL = 1.6  # inches, of a panel with room for more ticks

Text = Callable[[float, int], str]
"""From a value and a number of decimals to a label."""


@dataclass(frozen=True)
class Dot:
    """A point of a series, with the ends of its bar (``nan`` for none)."""

    series: Series
    x: float
    y: float
    low: float = math.nan
    high: float = math.nan
    label: str = ""


@dataclass(frozen=True)
class Panel:
    """What a panel shows: its points, the span of its axis, and the span of the horizontal one."""

    dots: tuple[Dot, ...]
    scale: Scale
    limits: tuple[float, float]

    @classmethod
    def of(cls, dots: list[Dot], limits: tuple[float, float], worse: Worse, lines: tuple[float, ...] = ()) -> Panel:
        """Make a panel of points, and of horizontal lines that must be in sight; unknown values are dropped."""
        known = tuple(dot for dot in dots if not math.isnan(dot.y))
        ends = [end for dot in known for end in (dot.low, dot.high) if not math.isnan(end)]
        return cls(known, Scale.of([dot.y for dot in known], [*ends, *lines], worse), limits)

    @property
    def has_strip(self) -> bool:
        """Whether a point is off the scale."""
        return any(self.scale.is_off(dot.y) for dot in self.dots)

    @property
    def cuts_bars(self) -> bool:
        """Whether a bar of a point on the scale ends off it."""
        near = [dot for dot in self.dots if not self.scale.is_off(dot.y)]
        return any(dot.low < self.scale.low or dot.high > self.scale.high for dot in near)

    def draw(self, axes: Any, size: tuple[float, float], text: Text) -> None:
        """Draw on axes of ``size`` (width and height in inches), with labels by ``text``."""
        axes.set_xlim(*self.limits)
        for series in dict.fromkeys(dot.series for dot in self.dots):
            self._draw_series(axes, series)
        low, high = self.scale.low, self.scale.high
        rows = self._draw_strip(axes, size, text)
        strip = (high - low) * rows * ROW / (size[1] - rows * ROW)
        axes.set_ylim(*((low - strip, high) if self.scale.worse == "low" else (low, high + strip)))
        _set_ticks(axes, low, high, size[1], text)

    def _draw_series(self, axes: Any, series: Series) -> None:
        dots = [dot for dot in self.dots if dot.series == series]
        axes.plot(
            [d.x for d in dots], [d.y for d in dots], color=series.colour, linestyle=series.line_style, zorder=2.5
        )
        near = [d for d in dots if not self.scale.is_off(d.y)]
        bars = [[0.0 if math.isnan(end) else abs(d.y - end) for d, end in pairs] for pairs in _ends(near)]
        axes.errorbar(
            [d.x for d in near],
            [d.y for d in near],
            yerr=bars,
            color=series.colour,
            linestyle="none",
            marker=series.marker,
            markerfacecolor=series.fill,
            markersize=series.marker_size,
            elinewidth=0.9,
            capsize=1.5,
            zorder=2.7,
        )

    def _draw_strip(self, axes: Any, size: tuple[float, float], text: Text) -> int:
        """Draw the points that are off the scale; return how many rows they take."""
        from matplotlib.patches import Rectangle

        high = self.scale.worse == "high"
        off = sorted((d for d in self.dots if self.scale.is_off(d.y)), key=lambda d: d.y if high else -d.y)
        if not off:
            return 0
        left, right = self.limits
        inches = [(d.x - left) / (right - left) * size[0] for d in off]
        texts = [text(d.y, 0) for d in off]
        places = arrange(inches, texts, size[0])
        rows = 1 + max(place.row for place in places)
        share = rows * ROW / size[1]
        corner = (0.0, 1.0 - share if high else 0.0)
        axes.add_patch(
            Rectangle(corner, 1.0, share, transform=axes.transAxes, color="#f0f0f0", linewidth=0, zorder=2.8)
        )
        for dot, x, label, place in zip(off, inches, texts, places, strict=True):
            depth = (rows - place.row - 0.5) * ROW / size[1]
            at = (x / size[0], 1.0 - depth if high else depth)
            axes.plot(
                *at,
                color=dot.series.colour,
                marker=dot.series.marker,
                markerfacecolor=dot.series.fill,
                markersize=dot.series.marker_size,
                transform=axes.transAxes,
                zorder=4,
            )
            axes.annotate(
                label,
                at,
                xycoords="axes fraction",
                xytext=(4 if place.side == "right" else -4, 0),
                textcoords="offset points",
                ha="left" if place.side == "right" else "right",
                va="center_baseline",
                fontsize=LABEL_SIZE,
                zorder=4,
            )
        return rows


def caption_of(panels: Sequence[Panel]) -> str:
    """Return the sentences that panels need in their caption, on outliers and on points without a bar."""
    sentences = [_STRIP] if any(panel.has_strip for panel in panels) else []
    if any(panel.cuts_bars for panel in panels):
        sentences.append(_CUT)
    if any(math.isnan(dot.low) for panel in panels for dot in panel.dots):
        sentences.append(_NO_BAR)
    return " ".join(sentences)


def handle(series: Series) -> Any:
    """Return a series' entry for the legend."""
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        color=series.colour,
        linestyle=series.line_style,
        marker=series.marker,
        markerfacecolor=series.fill,
        markersize=series.marker_size,
        label=series.label,
    )


def _ends(dots: list[Dot]) -> tuple[list[tuple[Dot, float]], list[tuple[Dot, float]]]:
    return [(d, d.low) for d in dots], [(d, d.high) for d in dots]


def _set_ticks(axes: Any, low: float, high: float, height: float, text: Text) -> None:
    """Put a few ticks between ``low`` and ``high``, none of them in the strip."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    ticks = MaxNLocator(6 if height > _TALL else 5, steps=[1, 2, 5, 10]).tick_values(low, high)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    digits = 0 if high - low > 0.04 else 1
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value, digits)))
