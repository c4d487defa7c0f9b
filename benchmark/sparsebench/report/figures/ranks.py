"""Figures of ranks: mean ranks with their critical difference beside rank intervals, and win rates."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from ...analysis import critical_difference, friedman, mean_ranks
from ..aggregate import Aggregate
from ..style import DENSE_COLOUR, method_colour, method_marker, sentences
from ..win_rates import WinRates, errors_by_task
from .canvas import Canvas, Picture, paper_style
from .names import entry_names
from .series import Line

_ROW = 0.135  # inches that an entry takes
_LEFT = 1.35  # inches for the entries' names
_WIDTH, _PAGE = 3.5, 7.0
_MOST_NARROW = 6  # entries of a matrix in one column
_LEAST_NUMBER = 0.28  # inches of a cell that its rate is written into


def critical_difference_figure(
    part: Aggregate, name: str = "critical_difference", scale: float = 1.0
) -> Picture | None:
    """Draw the mean ranks of one group's complete entries with the critical difference, and their rank intervals.

    None where fewer than two entries ran all tasks, or there is a single task.
    """
    lines = sorted((line for line in part.lines if line["complete"]), key=lambda line: line["average_rank"])
    if len(lines) < 2 or len(part.tasks) < 2:
        return None
    errors = errors_by_task(part, tuple(line["checkpoint"] for line in lines))
    ranks, reach = mean_ranks(errors), critical_difference(len(lines), len(part.tasks))
    ranked, scope = _ranked(lines)
    with paper_style():
        height = _ROW * len(lines) + 0.1
        canvas = Canvas(
            2 if ranked else 1, 2 if ranked else 1, scale * (_PAGE if ranked else _WIDTH), height, [], _LEFT
        )
        axes = canvas.axes[0]
        axes.set_title("Mean rank over tasks")
        for place, (line, rank) in enumerate(zip(lines, ranks, strict=True)):
            ends = (max(float(rank) - reach / 2.0, 1.0), min(float(rank) + reach / 2.0, len(lines)))
            _draw(axes, line, place, float(rank), ends)
        _set_entries(axes, lines, part, named=True)
        _set_ranks(axes, len(lines))
        axes.set_xlabel("Mean rank")
        if ranked:
            other = canvas.axes[1]
            other.set_title("95 % rank interval")
            for place, line in enumerate(lines):
                if line in ranked:
                    _draw(other, line, place, math.nan, (float(line["rank_low"]), float(line["rank_high"])))
            _set_entries(other, lines, part, named=False)
            _set_ranks(other, len(ranked))
            other.set_xlabel(f"Rank among {len(ranked)}")
        caption = _caption(errors, reach, scope, len(ranked), len(lines))
        return Picture(name, canvas, caption)


def _caption(errors: np.ndarray, reach: float, scope: str, ranked: int, entries: int) -> str:
    test = ""
    if entries > 2:
        p = friedman(errors)[1]
        test = f"Friedman's test that all mean ranks are equal: p = {p:.2g}."
    text = (
        f"Left: mean rank by accuracy of {entries} entries over {errors.shape[1]} tasks, 1 is best; bars are half the"
    )
    text += " critical difference to either side, as far as there are ranks."
    if not ranked:
        text = text.removeprefix("Left: ").capitalize()
    rank = ""
    if ranked:
        rank = (
            f"Right: simultaneous 95 % intervals of the ranks by mean relative error increase, over {scope}, on these"
            " tasks: with 95 % confidence all true ranks lie in them."
        )
        if ranked < entries:
            rank += f" Entries whose interval covers something else aren't ranked with these {ranked}."
    return sentences(
        text,
        f"Two entries differ at 5 % where their bars don't overlap (Nemenyi; the critical difference is {reach:.1f});"
        " tasks are the sample, images and seeds don't enter.",
        test,
        rank,
    )


def _ranked(lines: list[Line]) -> tuple[list[Line], str]:
    """Return the entries of the scope that most of them have, and the scope."""
    known = [line for line in lines if line["rank_low"] is not None and line["rank_low"] == line["rank_low"]]
    if not known:
        return [], ""
    scope = Counter(line["scope"] for line in known).most_common(1)[0][0]
    return [line for line in known if line["scope"] == scope], scope


def _draw(axes: Any, line: Line, place: int, at: float, ends: tuple[float, float]) -> None:
    colour = DENSE_COLOUR if line["method"] == "dense" and not line["twin_of"] else method_colour(_method(line))
    axes.plot(ends, (place, place), color=colour, linewidth=1.6, solid_capstyle="butt", zorder=2.5)
    if ends[0] == ends[1]:
        at = ends[0]
    fill = "white" if line["twin_of"] else colour
    axes.plot(at, place, color=colour, marker=method_marker(_method(line)), markerfacecolor=fill, zorder=2.7)


def _method(line: Line) -> str:
    """Return the method that an entry is drawn as: a dense twin is its sparse twin's."""
    return str(line["twin_of"]).partition(".")[2].partition("_")[0] if line["twin_of"] else str(line["method"])


def _set_ranks(axes: Any, count: int) -> None:
    step = max(1, round(count / 30) * 5) if count > 10 else 1
    axes.set_xlim(1.0 - 0.03 * count, count + 0.03 * count)
    axes.set_xticks([1, *range(step if step > 1 else 2, count + 1, step)])


def _set_entries(axes: Any, lines: list[Line], part: Aggregate, named: bool) -> None:
    names = entry_names(part)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_yticks(range(len(lines)), [names[line["checkpoint"]] if named else "" for line in lines])
    axes.grid(visible=True, axis="x")


def win_rate_figure(found: WinRates, part: Aggregate, name: str = "win_rates", scale: float = 1.0) -> Picture:
    """Draw the win rates of one group as a matrix, best mean accuracy first; decided pairs are marked."""
    from matplotlib.colors import LinearSegmentedColormap

    names = entry_names(part)
    count = len(found.names)
    wide = count > _MOST_NARROW
    width = scale * (_PAGE if wide else _WIDTH)
    with paper_style():
        side = width - _LEFT - 0.75
        canvas = Canvas(1, 1, width, side, [], _LEFT, right=0.75, below=_LEFT)
        axes = canvas.axes[0]
        colours = LinearSegmentedColormap.from_list("wins", ["#b2182b", "#f7f7f7", "#2166ac"])
        image = axes.imshow(found.rates, cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
        texts = [names[entry] for entry in found.names]
        size = min(7.0, 72 * side / count * 0.85)
        axes.set_xticks(range(count), texts, rotation=90, fontsize=size)
        axes.set_yticks(range(count), texts, fontsize=size)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for i, j in zip(*np.nonzero(found.better), strict=True):
            above = 0.2 if side / count >= _LEAST_NUMBER else 0.0
            axes.plot(j, i - above, marker="o", markersize=min(2.5, 20 * side / count), color="black", linestyle="none")
        if side / count >= _LEAST_NUMBER:
            for i, j in np.ndindex(count, count):
                if i != j:
                    rate, low = found.rates[i, j], 0.2 * found.better[i, j]
                    colour = "white" if abs(rate - 0.5) > 0.35 else "black"
                    axes.text(j, i + low, f"{100 * rate:.0f}", ha="center", va="center", fontsize=6, color=colour)
        bar = canvas.figure.colorbar(image, cax=canvas.figure.add_axes(_bar(canvas, side)))
        bar.set_ticks([0.0, 0.5, 1.0], labels=["0", "50", "100"])
        bar.set_label("Tasks won (%)")
        caption = sentences(
            f"Percent of the {found.tasks} tasks on which the row's entry has a higher mean accuracy than the column's;"
            " equal ones count half. Rows and columns from the best mean accuracy to the worst.",
            "Dots: the simultaneous 95 % intervals of ranks show the row's relative error increase to be lower."
            if found.better.any()
            else "No pair is decided by the simultaneous 95 % intervals of ranks.",
        )
        return Picture(name, canvas, caption)


def _bar(canvas: Canvas, side: float) -> tuple[float, float, float, float]:
    """Return where the colour bar is: right of the matrix."""
    x, y = canvas.layout.width, canvas.layout.height
    box = canvas.axes[0].get_position()
    return (box.x1 + 0.1 / x, box.y0 + 0.25 * side / y, 0.1 / x, 0.5 * side / y)
