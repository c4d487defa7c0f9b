"""Figures over severity and over images per class: sparse against dense, a panel per sparsity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...analysis.metrics import mean
from ...registry.names import method_title
from ..fewshot import Shots
from ..shift import Cell
from ..style import DENSE_COLOUR, distinguish, method_colour, method_marker, method_order, percent, sentences
from ..style import variant_stroke as stroke
from .canvas import Canvas, Picture, paper_style

_COLUMNS, _PAGE, _COLUMN, _HEIGHT = 3, 7.0, 3.5, 1.8
_GROUP = ("mode", "probe", "protocol")


@dataclass(frozen=True)
class Curve:
    """A checkpoint's accuracy, or calibration error, over some quantity."""

    checkpoint: str
    method: str
    sparsity: float
    reference: str
    points: Mapping[float, float]


_Value = Callable[[Cell], float]


def severity_figures(
    cells: Sequence[Cell], clean_ece: _Value = lambda _: math.nan, width: float | None = None
) -> Iterator[Picture]:
    """Draw accuracy and calibration error over severity, mean over tasks and corruptions.

    Severity 0 is the clean test images, whose calibration error ``clean_ece`` gives (NaN where it isn't known). Nothing
    is drawn of a checkpoint with fewer than two severities.
    """
    drawn: tuple[tuple[str, _Value, _Value, str, str], ...] = (
        ("severity", lambda cell: cell.accuracy.mean, lambda cell: cell.clean, "Accuracy", ""),
        (
            "severity_ece",
            lambda cell: cell.ece,
            clean_ece,
            "Calibration error",
            ": confidence less accuracy in 15 bins",
        ),
    )
    corrupted = [cell for cell in cells if cell.corruption]
    for stem, value, clean, label, what in drawn:
        for name, own in _by_group(stem, corrupted):
            curves = [_over_severity(rows, value, clean) for rows in _by_checkpoint(own)]
            picture = _figure(
                name,
                [curve for curve in curves if sum(severity > 0 for severity in curve.points) > 1],
                ("Severity", f"{label} (%)"),
                sentences(
                    f"{label} over the severity of corruptions{what}, mean over tasks and corruptions, a panel per"
                    " sparsity; severity 0 is the clean test images.",
                    "Black: the dense reference.",
                ),
                width,
            )
            if picture is not None:
                yield picture


def shots_figures(rows: Sequence[Shots], width: float | None = None) -> Iterator[Picture]:
    """Draw accuracy over images per class, mean over tasks; nothing where fewer than two numbers are known."""
    for name, own in _by_group("shots", rows):
        curves = [_over_shots(some) for some in _by_checkpoint(own)]
        picture = _figure(
            name,
            [curve for curve in curves if len(curve.points) > 1],
            ("Images per class", "Accuracy (%)"),
            sentences(
                "Accuracy over the number of training images per class, mean over tasks and random draws, a panel per"
                " sparsity.",
                "Black: the dense reference.",
            ),
            width,
            log=True,
        )
        if picture is not None:
            yield picture


def _by_group(stem: str, rows: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    groups = list(dict.fromkeys(row.group for row in rows))
    named = [dict(zip(_GROUP, group, strict=True)) for group in groups]
    for group, fields in zip(groups, named, strict=True):
        yield f"{stem}{distinguish(fields, named)}", [row for row in rows if row.group == group]


def _by_checkpoint(rows: Sequence[Any]) -> Iterator[list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.checkpoint, []).append(row)
    yield from found.values()


def _over_severity(rows: Sequence[Cell], value: _Value, clean: _Value) -> Curve:
    """Return a checkpoint's curve over the severities that all of its tasks and corruptions have."""
    by = {severity: {(r.task, r.corruption): r for r in rows if r.severity == severity} for severity in range(1, 6)}
    everything = {(r.task, r.corruption) for r in rows}
    points = {float(s): _tasks_mean(own, value) for s, own in by.items() if set(own) == everything}
    points[0.0] = mean(clean(row) for row in {row.task: row for row in rows}.values())
    return _curve(rows[0], {x: y for x, y in points.items() if not math.isnan(y)})


def _tasks_mean(own: Mapping[tuple[str, str], Cell], value: _Value) -> float:
    tasks = dict.fromkeys(task for task, _ in own)
    return mean(mean(value(row) for (name, _), row in own.items() if name == task) for task in tasks)


def _over_shots(rows: Sequence[Shots]) -> Curve:
    tasks = {row.task for row in rows}
    counts = sorted({row.shots for row in rows})
    points = {}
    for count in counts:
        own = {row.task: row.accuracy.mean for row in rows if row.shots == count}
        if set(own) == tasks:
            points[float(count)] = mean(own.values())
    return _curve(rows[0], points)


def _curve(row: Cell | Shots, points: Mapping[float, float]) -> Curve:
    return Curve(row.checkpoint, row.method, row.sparsity, row.reference, points)


def _figure(
    name: str, curves: Sequence[Curve], labels: tuple[str, str], caption: str, width: float | None, log: bool = False
) -> Picture | None:
    """Draw a panel per sparsity: its sparse checkpoints, and the dense ones that they are compared with."""
    sparse = [curve for curve in curves if curve.method != "dense"]
    levels = sorted({round(curve.sparsity, 4) for curve in sparse})
    if not sparse:
        return None
    dense = {curve.checkpoint: curve for curve in curves if curve.method == "dense"}
    names = _labels(sparse)
    looks = {text: look for curve in sparse for text, look in [(names[curve.checkpoint], _look(curve, sparse, names))]}
    legend = sorted(looks, key=lambda text: (looks[text][3], text))
    entries = [method_title("dense"), *legend] if dense else legend
    columns = 2 if len(levels) == 4 else min(len(levels), _COLUMNS)  # four: no panel alone in its row
    page = (width or _COLUMN) * (_PAGE / _COLUMN if columns > 1 else 1.0)
    with paper_style():
        canvas = Canvas(len(levels), columns, page, _HEIGHT, entries)
        for index, (axes, level) in enumerate(zip(canvas.axes, levels, strict=True)):
            own = [curve for curve in sparse if round(curve.sparsity, 4) == level]
            for curve in (dense[n] for n in sorted({c.reference for c in own} & dense.keys())):
                _draw(axes, curve, (DENSE_COLOUR, "none", "-"), 1.6)
            for curve in sorted(own, key=lambda c: method_order(c.method)):
                _draw(axes, curve, looks[names[curve.checkpoint]][:3], 1.0)
            axes.set_title(f"{100 * level:.4g} % sparse")
            _axes(axes, sorted({x for curve in curves for x in curve.points}), log)
            if index + columns >= len(levels):  # the last of its column
                axes.set_xlabel(labels[0])
            if index % columns == 0:
                axes.set_ylabel(labels[1])
        bottom, top = zip(*(axes.get_ylim() for axes in canvas.axes), strict=True)
        for axes in canvas.axes:
            axes.set_ylim(min(bottom), max(top))
        handles = [_handle(DENSE_COLOUR, "none", "-", method_title("dense"))] if dense else []
        canvas.legend([*handles, *(_handle(*looks[text][:3], text) for text in legend)])
        return Picture(name, canvas, caption)


def _labels(curves: Sequence[Curve]) -> dict[str, str]:
    """Return what each curve is called: its method, or the checkpoint where a panel has several of a method."""
    places = [(curve.method, round(curve.sparsity, 4)) for curve in curves]
    return {
        curve.checkpoint: method_title(curve.method) if places.count(place) == 1 else curve.checkpoint
        for curve, place in zip(curves, places, strict=True)
    }


def _look(curve: Curve, curves: Sequence[Curve], names: Mapping[str, str]) -> tuple[str, str, str, tuple[int, str]]:
    same = sorted({names[other.checkpoint] for other in curves if other.method == curve.method})
    line = stroke(same.index(names[curve.checkpoint]))
    return method_colour(curve.method), method_marker(curve.method), line, method_order(curve.method)


def _draw(axes: Any, curve: Curve, look: tuple[str, str, str], width: float) -> None:
    colour, marker, line = look
    x = sorted(curve.points)
    y = [curve.points[at] for at in x]
    axes.plot(x, y, linestyle=line, marker=marker, color=colour, linewidth=width, markersize=3.0)


def _axes(axes: Any, ticks: Sequence[float], log: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    if log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, 0)))


def _handle(colour: str, marker: str, line: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle=line, markersize=3.5, label=label)
