"""Figures of variance: where it is, and what several upstream trainings of each method would show."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np

from ...analysis import detectable_difference
from ...registry.names import method_title
from ..aggregate import Aggregate
from ..style import DENSE_COLOUR, method_order, panel_title, percent, sentences
from ..variance import SOURCES, rests_on, trainings, variances
from .canvas import Canvas, Picture, paper_style

_LOOKS = {
    "images": ("#4477aa", "o"),
    "seeds": ("#ccbb44", "s"),
    "replicates": ("#aa3377", "D"),
    "tasks": ("#228833", "^"),
}
_ROW, _LEFT, _WIDTH = 0.17, 0.95, 3.5
_MOST = 32  # upstream trainings of a method


def variance_figure(statistics: Aggregate, name: str = "variance", scale: float = 1.0) -> Picture | None:
    """Draw the standard deviation by source and method, a panel per group; None where no predictions were kept."""
    parts = [(group, part, variances(part)) for group, part in statistics.groups()]
    parts = [item for item in parts if item[2]]
    if not parts:
        return None
    groups = [group for group, *_ in parts]
    shown = [(key, words) for key, words in SOURCES if any(not math.isnan(v.sds[key]) for *_, f in parts for v in f)]
    methods = sorted({v.method for *_, found in parts for v in found}, key=method_order)
    labels = [f"{words[0].upper()}{words[1:]}" for _, words in shown]
    known = {panel_title(group, groups): rests_on(part) for group, part, _ in parts}
    caption = sentences(
        "Standard deviation of the mean relative error increase if one thing alone were drawn anew: the test images,"
        " one seed of the head per task, one upstream training of the network and its reference.",
        "Task: the standard deviation between tasks, without what images and seeds add to it.",
        "Root mean square over the entries of a method that kept predictions.",
        *_differing(known),
    )
    with paper_style():
        canvas = Canvas(len(parts), 1, scale * _WIDTH, _ROW * len(methods) + 0.1, labels, _LEFT)
        for axes, (group, _, found) in zip(canvas.axes, parts, strict=True):
            axes.set_title(panel_title(group, groups))
            rows = [methods.index(v.method) for v in found]
            for key, _ in shown:
                colour, marker = _LOOKS[key]
                values = [v.sds[key] for v in found]
                axes.plot(values, rows, color=colour, marker=marker, linestyle="none", clip_on=False, zorder=3)
            axes.set_ylim(len(methods) - 0.4, -0.6)
            axes.set_yticks(range(len(methods)), [method_title(method) for method in methods])
            axes.set_xlim(0.0, 1.08 * max(v for own in found for v in own.sds.values() if not math.isnan(v)))
            axes.grid(visible=True, axis="x")
            _percent(axes.xaxis)
        canvas.axes[-1].set_xlabel("Standard deviation (percentage points)")
        canvas.legend([_handle(label, *_LOOKS[key], "none") for label, (key, _) in zip(labels, shown, strict=True)])
        return Picture(name, canvas, caption)


def trainings_figure(statistics: Aggregate, name: str = "upstream_trainings", scale: float = 1.0) -> Picture | None:
    """Draw the difference of two methods that so many upstream trainings of each show; None where no entry has two."""
    parts = [(group, part) for group, part in statistics.groups() if trainings(part)[0]]
    if not parts:
        return None
    groups = [group for group, _ in parts]
    counts = [int(n) for n in np.unique(np.round(np.geomspace(2, _MOST, 13)))]
    factors = np.array([detectable_difference(n, 1.0) for n in counts])
    labels = ["80 % power", "its 95 % interval", "methods, median difference", "methods, quartiles"]
    known = {panel_title(group, groups): rests_on(part) for group, part in parts}
    caption = sentences(
        "Least true difference between two methods' mean relative error increases that so many upstream trainings of"
        " each show: two-sided t test at 5 %, power 80 %, independent trainings, these tasks and test images.",
        "Shaded: the 95 % interval of that difference, from how few trainings the standard deviation rests on, cut off"
        " at the panel's edge.",
        "Dashed and dotted: median and quartiles of the differences seen between pairs of methods at one sparsity."
        " Differences below the line aren't decided by so many trainings.",
        *_differing(known),
    )
    with paper_style():
        canvas = Canvas(len(parts), 1, scale * _WIDTH, 1.9, labels)
        for axes, (group, part) in zip(canvas.axes, parts, strict=True):
            _, (sd, low, high, _) = trainings(part)
            axes.set_title(panel_title(group, groups))
            axes.fill_between(counts, factors * low, factors * high, color="#aa3377", alpha=0.18, linewidth=0)
            axes.plot(counts, factors * sd, color="#aa3377", marker="D", markersize=3)
            seen = _differences(part)
            for value, line in zip(
                np.quantile(seen, (0.25, 0.5, 0.75)) if seen else (), (":", "--", ":"), strict=False
            ):
                axes.axhline(value, color=DENSE_COLOUR, linestyle=line, linewidth=0.9)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xlim(counts[0] * 0.93, counts[-1] * 1.07)
            least = min([float(factors[-1] * low), *map(float, np.quantile(seen, (0.25,)) if seen else ())])
            axes.set_ylim(0.8 * least, 1.2 * float(factors[0]) * min(high, 5.0 * sd))
            axes.set_xticks([2, 4, 8, 16, 32], ["2", "4", "8", "16", "32"])
            axes.set_ylabel("Difference shown (%)")
            _percent_decades(axes)
        canvas.axes[-1].set_xlabel("Upstream trainings of each method")
        canvas.legend(_handles(labels))
        return Picture(name, canvas, caption)


def _differences(part: Aggregate) -> list[float]:
    """Return the absolute differences between methods at one sparsity."""
    by_sparsity: dict[float, list[tuple[str, float]]] = {}
    for line in part.lines:
        if line["method"] != "dense" and line["complete"] and not math.isnan(line["relative_error"]) and not line["nm"]:
            own = by_sparsity.setdefault(round(line["sparsity"], 4), [])
            own.append((line["method"], line["relative_error"]))
    pairs = [pair for own in by_sparsity.values() for pair in combinations(own, 2)]
    return [abs(one[1] - other[1]) for one, other in pairs if one[0] != other[0]]


def _differing(known: dict[str, str]) -> list[str]:
    """Return sentences by panel, or the one that all panels share."""
    if len(set(known.values())) == 1:
        return [next(iter(known.values()))]
    return [f"{title}: {text[0].lower()}{text[1:]}" for title, text in known.items()]


def _percent(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, 0)))


def _percent_decades(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(LogLocator(base=2, subs=()))


def _handle(label: str, colour: str, marker: str, line: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle=line, label=label)


def _handles(labels: list[str]) -> list[Any]:
    from matplotlib.patches import Patch

    return [
        _handle(labels[0], "#aa3377", "D", "-"),
        Patch(color="#aa3377", alpha=0.18, linewidth=0, label=labels[1]),
        _handle(labels[2], DENSE_COLOUR, "none", "--"),
        _handle(labels[3], DENSE_COLOUR, "none", ":"),
    ]
