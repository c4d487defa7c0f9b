"""The figures: relative error increase and accuracy over sparsity, and transfer against upstream accuracy.

All come as PNG (200 dpi) and PDF (embedded fonts) of one drawing; equal tables give equal bytes on one machine. Series
have the same colour and marker in every figure; at one sparsity they stand side by side, so that intervals stay
legible. Outliers on the worse side stand in a strip at the panel's edge, with their value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..aggregate import Aggregate, aggregate
from ..style import (
    DENSE_COLOUR,
    SEED_CAPTION,
    distinguish,
    metric_sentence,
    panel_title,
    percent,
    sentences,
    signed_percent,
)
from ..win_rates import win_rates_of
from .canvas import Canvas, Picture, paper_style
from .panel import Dot, Panel, caption_of, handle
from .ranks import critical_difference_figure, win_rate_figure
from .series import Axis, Line, Series, build_series
from .upstream import upstream_by_task, upstream_figure
from .variance import trainings_figure, variance_figure

if TYPE_CHECKING:
    import pandas as pd

    from ...store.classes import Reader

COLUMN_WIDTH = 3.5
"""Width in inches of a figure over sparsity: one column of a two-column paper."""

_ASIDE = "Entries of one sparsity are drawn side by side."

PAGE_WIDTH = 7.0
"""Width in inches of the figure by task."""


def figures(frame: pd.DataFrame, predictions: Reader | None = None) -> list[Picture]:
    """Return all figures of a tidy results table: two per suite and architecture, and two by task per group."""
    return list(figures_of(aggregate(frame, predictions=predictions)))


def figures_of(statistics: Aggregate, width: float | None = None) -> Iterator[Picture]:
    """Draw all figures of statistics that are there already, one after the other.

    ``width`` is that of a figure in one column, in inches; those by task are twice as wide.
    """
    for picture in _drawn(statistics, 1.0 if width is None else width / COLUMN_WIDTH):
        if picture is not None:
            yield picture


def _drawn(statistics: Aggregate, scale: float) -> Iterator[Picture | None]:
    for name, part in _families(statistics):
        yield relative_error_figure(part, f"relative_error{name}", scale)
        yield upstream_figure(part, f"upstream{name}", scale)
        yield variance_figure(part, f"variance{name}", scale)
        yield trainings_figure(part, f"upstream_trainings{name}", scale)
    groups = list(statistics.groups())
    for group, part in groups:
        name = distinguish(group, [o for o, _ in groups if o["mode"] == group["mode"]], always=("mode",))
        yield accuracy_figure(part, f"accuracy{name}", scale)
        yield upstream_by_task(part, f"upstream_by_task{name}", scale)
        yield critical_difference_figure(part, f"critical_difference{name}", scale)
        for found in win_rates_of(part):
            yield win_rate_figure(found, part, f"win_rates{name}", scale)


def relative_error_figure(statistics: Aggregate, name: str = "relative_error", scale: float = 1.0) -> Picture | None:
    """Draw the mean relative error increase over sparsity, one panel per group, with 95 % intervals.

    The dense reference is the zero line; dense twins are hollow markers at sparsity 0, N:M patterns are stars. Entries
    that lack a task or a reference are left out; None if nothing remains.
    """
    shown = statistics.summary[statistics.summary["complete"] & statistics.summary["relative_error"].notna()]
    statistics = Aggregate(statistics.cells, shown.reset_index(drop=True))
    series = build_series(statistics)
    if not series:
        return None
    groups = [group for group, part in statistics.groups() if build_series(part)]
    axis = Axis.of(line["sparsity"] for s in series for line in s.lines)
    panels = [Panel.of(_errors(axis, series, group), axis.limits, "high", (0.0,)) for group in groups]
    first = f"Mean over tasks, 95 % intervals over {_scopes(statistics)}; dense is the zero line. {_ASIDE}"
    with paper_style():
        caption = sentences(first, caption_of(panels), SEED_CAPTION)
        canvas = Canvas(len(groups), 1, scale * COLUMN_WIDTH, 1.9, [s.label for s in series])
        for axes, group, panel in zip(canvas.axes, groups, panels, strict=True):
            axes.set_title(panel_title(group, groups))
            axes.axhline(0.0, color=DENSE_COLOUR, linewidth=0.9, zorder=1.5)
            panel.draw(axes, canvas.panel_size, signed_percent)
            _set_sparsities(axes, axis, canvas.panel_size[0])
            axes.set_ylabel("Relative error increase (%)")
        canvas.axes[-1].set_xlabel("Sparsity (%)")
        canvas.legend([handle(s) for s in series])
        return Picture(name, canvas, caption)


def _scopes(statistics: Aggregate) -> str:
    """Return what the intervals of each mode and probe cover."""
    found: dict[str, list[str]] = {}
    for line in statistics.lines:
        if line["scope"] and line["relative_error_high"] > line["relative_error_low"]:
            way = " ".join(text for text in (line["mode"], line["probe"]) if text)
            own = found.setdefault(line["scope"], [])
            own += [way] if way not in own else []
    if len(found) < 2:
        return next(iter(found), "nothing")
    return ", over ".join(f"{scope} ({', '.join(ways)})" for scope, ways in found.items())


def accuracy_figure(statistics: Aggregate, name: str = "accuracy", scale: float = 1.0) -> Picture | None:
    """Draw the accuracy over sparsity, one panel per task, of one group; None if it has no sparse entry.

    Bars are the standard deviation over seeds; the dashed line is the dense reference.
    """
    series = build_series(statistics)
    tasks = statistics.tasks
    if not any(s.kind != "twin" for s in series):
        return None
    dense = [line for line in statistics.lines if line["method"] == "dense" and not line["twin_of"]]
    axis = Axis.of(line["sparsity"] for s in series for line in s.lines)
    labels = [s.label for s in series] + (["Dense"] if dense else [])
    columns = min(len(tasks), 4 if len(tasks) > 6 else 3)
    width = PAGE_WIDTH if columns > 1 else COLUMN_WIDTH
    levels = {task: _levels(statistics, dense, task) for task in tasks}
    panels = [Panel.of(_accuracies(axis, series, statistics, t), axis.limits, "low", levels[t]) for t in tasks]
    metric = metric_sentence(statistics.per_class_tasks)
    caption = sentences(
        f"Mean; bars are ± one standard deviation over seeds and don't cover the test images. {_ASIDE}",
        caption_of(panels),
        metric,
        SEED_CAPTION,
    )
    with paper_style():
        canvas = Canvas(len(tasks), columns, scale * width, 1.45, labels)
        for index, (axes, task, panel) in enumerate(zip(canvas.axes, tasks, panels, strict=True)):
            axes.set_title(task)
            for level in levels[task]:
                axes.axhline(level, color=DENSE_COLOUR, linestyle="--", linewidth=0.9, zorder=1.5)
            panel.draw(axes, canvas.panel_size, percent)
            _set_sparsities(axes, axis, canvas.panel_size[0])
            if index % columns == 0:
                axes.set_ylabel("Accuracy (%)")
            if index + columns >= len(tasks):
                axes.set_xlabel("Sparsity (%)")
        canvas.legend([*(handle(s) for s in series), *([_dense_handle()] if dense else [])])
        return Picture(name, canvas, caption)


def _errors(axis: Axis, series: list[Series], group: dict[str, str]) -> list[Dot]:
    """Return the points of a group's relative errors."""
    shifts = _shifts(series, axis.room)
    return [
        Dot(
            one,
            axis.at(line["sparsity"]) + shifts[one.label],
            line["relative_error"],
            line["relative_error_low"],
            line["relative_error_high"],
        )
        for one in series
        for line in one.lines
        if all(line[k] == v for k, v in group.items())
    ]


def _accuracies(axis: Axis, series: list[Series], statistics: Aggregate, task: str) -> list[Dot]:
    """Return the points of a task's accuracies."""
    shifts = _shifts(series, axis.room)
    dots = []
    for one in series:
        for line in one.lines:
            cell = statistics.cell(line["checkpoint"], task)
            if cell is not None:
                x = axis.at(line["sparsity"]) + shifts[one.label]
                dots.append(Dot(one, x, cell.mean, cell.mean - cell.sd, cell.mean + cell.sd))
    return dots


def _levels(statistics: Aggregate, dense: list[Line], task: str) -> tuple[float, ...]:
    """Return the dense references' accuracies on a task."""
    cells = [statistics.cell(str(line["checkpoint"]), task) for line in dense]
    return tuple(cell.mean for cell in cells if cell is not None)


def _shifts(series: list[Series], room: float) -> dict[str, float]:
    """Return each series' shift along the axis; a dense twin stands where its method does."""
    slots = list(dict.fromkeys((s.colour, s.label if s.kind != "twin" else "") for s in series if s.kind != "twin"))
    width = min(0.1, 0.62 * room / max(len(slots), 1))
    centre = (len(slots) - 1) / 2
    places = {slot: (index - centre) * width for index, slot in enumerate(slots)}
    by_colour = {colour: place for (colour, _), place in reversed(places.items())}
    return {s.label: places.get((s.colour, s.label), by_colour.get(s.colour, 0.0)) for s in series}


def _set_sparsities(axes: Any, axis: Axis, width: float) -> None:
    """Label the horizontal axis of a panel ``width`` inches wide with the sparsities that have room."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    left, right = axis.limits
    labels = axis.labels(0.2 * (right - left) / width)
    axes.xaxis.set_major_locator(FixedLocator(sorted(labels)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _nearest(labels, place)))


def _nearest(labels: dict[float, str], place: float) -> str:
    return labels[min(labels, key=lambda other: abs(other - place))]


def _dense_handle() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=DENSE_COLOUR, linestyle="--", linewidth=0.9, label="Dense")


def _families(statistics: Aggregate) -> list[tuple[str, Aggregate]]:
    """Return the statistics by suite and architecture, each with the ending of its file's name."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for group, _ in statistics.groups():
        found.setdefault((group["suite"], group["arch"]), []).append(group)
    families = [{"suite": suite, "arch": arch} for suite, arch in found]
    parts = []
    for family in families:
        mask = (statistics.summary["suite"] == family["suite"]) & (statistics.summary["arch"] == family["arch"])
        part = Aggregate(statistics.cells, statistics.summary[mask].reset_index(drop=True))
        parts.append((distinguish(family, families), part))
    return parts
