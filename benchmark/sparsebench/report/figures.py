"""The figures: relative error increase over sparsity, and accuracy over sparsity task by task.

Both come as PNG (200 dpi) and PDF (embedded fonts) of one drawing; equal tables give equal bytes on one machine. Series
have the same colour and marker in every figure; at one sparsity they stand side by side, so that intervals
stay legible.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .aggregate import GROUP, Aggregate, aggregate
from .canvas import Canvas, paper_style
from .series import Axis, Line, Series, build_series
from .style import DENSE_COLOUR, SEED_CAPTION, percent, signed_percent

if TYPE_CHECKING:
    import pandas as pd

COLUMN_WIDTH = 3.5
"""Width in inches of the main figure: one column of a two-column paper."""

PAGE_WIDTH = 7.0
"""Width in inches of the figure by task."""


@dataclass(frozen=True)
class Picture:
    """A finished figure: the stem of its file name, and its bytes in both formats."""

    name: str
    png: bytes
    pdf: bytes


def figures(frame: pd.DataFrame) -> list[Picture]:
    """Return all figures of a tidy results table: the main one a suite and architecture, and one by task a group."""
    return figures_of(aggregate(frame))


def figures_of(statistics: Aggregate) -> list[Picture]:
    """Return all figures of statistics that are there already."""
    pictures = []
    families = _families(statistics)
    for name, part in families:
        picture = relative_error_figure(part, f"relative_error{name}")
        pictures += [picture] if picture else []
    groups = list(statistics.groups())
    for group, part in groups:
        name = _distinguish(group, [o for o, _ in groups if o["mode"] == group["mode"]], always=("mode",))
        picture = accuracy_figure(part, f"accuracy{name}")
        pictures += [picture] if picture else []
    return pictures


def relative_error_figure(statistics: Aggregate, name: str = "relative_error") -> Picture | None:
    """Draw the mean relative error increase over sparsity, a panel a group, with 95 % intervals.

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
    caption = f"Mean over tasks, 95 % intervals over seeds; dense is the zero line. {SEED_CAPTION}"
    with paper_style():
        canvas = Canvas(len(groups), 1, COLUMN_WIDTH, 1.75, [s.label for s in series], caption)
        for axes, group in zip(canvas.axes, groups, strict=True):
            axes.set_title(_panel_title(group, groups))
            axes.axhline(0.0, color=DENSE_COLOUR, linewidth=0.9, zorder=1.5)
            _draw_series(axes, axis, series, group, _relative_error)
            _set_axes(axes, axis, canvas.panel_width, signed_percent)
            axes.set_ylabel("Relative error increase (%)")
        canvas.axes[-1].set_xlabel("Sparsity (%)")
        canvas.legend([_handle(s) for s in series])
        return Picture(name, canvas.png(), canvas.pdf())


def accuracy_figure(statistics: Aggregate, name: str = "accuracy") -> Picture | None:
    """Draw the accuracy over sparsity, a panel a task, of one group; None if it has no sparse entry.

    Bars are the standard deviation over seeds; the dashed line is the dense reference.
    """
    series = build_series(statistics)
    tasks = statistics.tasks
    if not any(s.kind != "twin" for s in series):
        return None
    dense = [
        line for line in statistics.summary.to_dict("records") if line["method"] == "dense" and not line["twin_of"]
    ]
    axis = Axis.of(line["sparsity"] for s in series for line in s.lines)
    labels = [s.label for s in series] + (["Dense"] if dense else [])
    columns = min(len(tasks), 4 if len(tasks) > 6 else 3)
    width = PAGE_WIDTH if columns > 1 else COLUMN_WIDTH
    caption = f"Mean and standard deviation over seeds. {SEED_CAPTION}"
    with paper_style():
        canvas = Canvas(len(tasks), columns, width, 1.45, labels, caption)
        for index, (axes, task) in enumerate(zip(canvas.axes, tasks, strict=True)):
            axes.set_title(_task_title(statistics, task))
            for line in dense:
                cell = statistics.cell(str(line["checkpoint"]), task)
                if cell is not None:
                    axes.axhline(cell.mean, color=DENSE_COLOUR, linestyle="--", linewidth=0.9, zorder=1.5)
            _draw_series(axes, axis, series, None, _accuracy_of(statistics, task))
            _set_axes(axes, axis, canvas.panel_width, lambda v, digits: percent(v, digits))
            if index % columns == 0:
                axes.set_ylabel("Accuracy (%)")
            if index + columns >= len(tasks):
                axes.set_xlabel("Sparsity (%)")
        canvas.legend([*(_handle(s) for s in series), *([_dense_handle()] if dense else [])])
        return Picture(name, canvas.png(), canvas.pdf())


Value = Callable[[Line], tuple[float, float, float]]
"""From a summary line to a value and the ends of its bar."""


def _relative_error(line: Line) -> tuple[float, float, float]:
    return line["relative_error"], line["relative_error_low"], line["relative_error_high"]


def _accuracy_of(statistics: Aggregate, task: str) -> Value:
    def value(line: Line) -> tuple[float, float, float]:
        cell = statistics.cell(line["checkpoint"], task)
        return (math.nan,) * 3 if cell is None else (cell.mean, cell.mean - cell.sd, cell.mean + cell.sd)

    return value


def _draw_series(axes: Any, axis: Axis, series: list[Series], group: dict[str, str] | None, value: Value) -> None:
    """Draw all series of a group, each shifted a little so that none hides another."""
    shifts = _shifts(series, axis.room)
    for one in series:
        lines = [line for line in one.lines if group is None or all(line[k] == v for k, v in group.items())]
        points = [(axis.at(line["sparsity"]) + shifts[one.label], *value(line)) for line in lines]
        points = [p for p in points if not math.isnan(p[1])]
        if not points:
            continue
        x, y, low, high = zip(*points, strict=True)
        stroke = one.stroke if one.kind == "sparse" else "none"
        fill = "white" if one.kind == "twin" else one.colour
        bars = [[0.0 if math.isnan(b) else abs(a - b) for a, b in zip(y, end, strict=True)] for end in (low, high)]
        axes.errorbar(
            x,
            y,
            yerr=bars,
            color=one.colour,
            linestyle=stroke,
            marker=one.marker,
            markerfacecolor=fill,
            markersize=_marker_size(one),
            elinewidth=0.9,
            capsize=1.5,
            zorder=3,
        )


def _shifts(series: list[Series], room: float) -> dict[str, float]:
    """Return each series' shift along the axis; a dense twin stands where its method does."""
    slots = list(dict.fromkeys((s.colour, s.label if s.kind != "twin" else "") for s in series if s.kind != "twin"))
    width = min(0.07, 0.62 * room / max(len(slots), 1))
    centre = (len(slots) - 1) / 2
    places = {slot: (index - centre) * width for index, slot in enumerate(slots)}
    by_colour = {colour: place for (colour, _), place in reversed(places.items())}
    return {s.label: places.get((s.colour, s.label), by_colour.get(s.colour, 0.0)) for s in series}


def _set_axes(axes: Any, axis: Axis, width: float, text: Callable[[float, int], str]) -> None:
    """Set limits and tick labels of both axes."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    left, right = axis.limits
    labels = axis.labels(0.2 * (right - left) / width)
    axes.set_xlim(left, right)
    axes.xaxis.set_major_locator(FixedLocator(sorted(labels)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _nearest(labels, place)))
    axes.margins(y=0.12)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    low, high = axes.get_ylim()
    digits = 0 if high - low > 0.04 else 1
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value, digits)))


def _nearest(labels: dict[float, str], place: float) -> str:
    return labels[min(labels, key=lambda other: abs(other - place))]


def _marker_size(series: Series) -> float:
    return 7.0 if series.kind == "nm" else 4.5


def _handle(series: Series) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        color=series.colour,
        linestyle=series.stroke if series.kind == "sparse" else "none",
        marker=series.marker,
        markerfacecolor="white" if series.kind == "twin" else series.colour,
        markersize=_marker_size(series),
        label=series.label,
    )


def _dense_handle() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=DENSE_COLOUR, linestyle="--", linewidth=0.9, label="Dense")


_MODE_TITLES = {"linear": "Linear: frozen features", "full": "Full finetuning"}


def _panel_title(group: dict[str, str], groups: list[dict[str, str]]) -> str:
    """Return the mode, with what else tells the panels of one mode apart."""
    title = _MODE_TITLES.get(group["mode"], group["mode"])
    same = [other for other in groups if other["mode"] == group["mode"]]
    more = [group[name] for name in GROUP if name != "mode" and len({other[name] for other in same}) > 1]
    return f"{title} ({', '.join(more)})" if more else title


def _task_title(statistics: Aggregate, task: str) -> str:
    metrics = set(statistics.cells.loc[statistics.cells["task"] == task, "metric"])
    return f"{task} (mean per class)" if "mean_per_class" in metrics else task


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
        parts.append((_distinguish(family, families), part))
    return parts


def _distinguish(group: dict[str, str], groups: list[dict[str, str]], always: tuple[str, ...] = ()) -> str:
    """Return the ending of a file's name: what tells a group apart from the others."""
    from ..store.names import safe_name

    told = [n for n in group if n in always or len({other[n] for other in groups}) > 1]
    return "".join(f"-{safe_name(group[n])}" for n in told if group[n])
