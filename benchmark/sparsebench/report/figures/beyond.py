"""Figures of two checkpoints beyond accuracy: reliability diagrams, and how recall changes class by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...analysis.calibration import BINS, Reliability, Scored, reliability
from ...common import files
from ...schema import ResultsError
from ...store import ensure_writable
from ..measures import TaskMeasures
from ..style import DENSE_COLOUR, percent, sentences
from .canvas import Canvas, Picture, paper_style

_COLOURS = ("#4477aa", DENSE_COLOUR)
_MARKERS = ("o", "s")
_FOUND, _CHANCE = "#cc3311", "#999999"
_FEWEST = 10  # images in a bin that is drawn
_COLUMNS, _PAGE, _COLUMN = 3, 7.0, 3.5


def write_figures(folder: Path, names: tuple[str, str], found: Sequence[TaskMeasures]) -> Iterator[Path]:
    """Write the figures ``reliability`` (where logits were kept) and ``classes``; yield each file once written.

    Each is written as PNG and PDF, with its caption beside as text and as a LaTeX figure.

    Parameters
    ----------
    folder : Path
        Where to; it is made if it isn't there.
    names : tuple of str
        Both checkpoints.
    found : sequence of TaskMeasures
        By task.

    Raises
    ------
    ResultsError
        If the folder can't be written to.
    """
    ensure_writable(folder)
    for picture in (reliability_figure(names, found), classes_figure(names, found)):
        if picture is None:
            continue
        for name, data in picture.files():
            path = folder / name
            try:
                files.write_bytes(path, data)
            except OSError as error:
                raise ResultsError(f"can't write {str(path)!r}: {error.strerror or error}") from error
            yield path


def reliability_figure(names: tuple[str, str], found: Sequence[TaskMeasures]) -> Picture | None:
    """Draw accuracy over confidence, a panel per task; None where no task has logits."""
    tasks = [task for task in found if task.has_logits]
    if not tasks:
        return None
    caption = sentences(
        f"Accuracy over confidence, in {BINS} bins of equal width over all runs (with at least {_FEWEST} images).",
        "The diagonal is perfect calibration.",
        "Dotted: after temperature scaling, each half of the test images by a temperature fitted on the other.",
    )
    labels = [*names, *(f"{name}, scaled" for name in names)]
    with paper_style():
        canvas = _canvas(tasks, labels)
        for index, (axes, task) in enumerate(zip(canvas.axes, tasks, strict=True)):
            axes.set_title(task.task)
            axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8, zorder=1)
            for own, scaled, colour, marker in zip(task.scores, task.scaled, _COLOURS, _MARKERS, strict=True):
                for runs, line in ((own, "-"), (scaled, ":")):
                    bins = _pooled(runs)
                    filled = bins.counts >= _FEWEST
                    shape = marker if line == "-" else "none"
                    axes.plot(bins.confidence[filled], bins.accuracy[filled], line, color=colour, marker=shape, ms=3.0)
            _percent_axes(axes, (0.0, 1.0))
            if index % _COLUMNS == 0:
                axes.set_ylabel("Accuracy (%)")
            axes.set_xlabel("Confidence (%)")
        looks = [(c, m, "-") for c, m in zip(_COLOURS, _MARKERS, strict=True)] + [(c, "none", ":") for c in _COLOURS]
        canvas.legend([_handle(*look, label) for look, label in zip(looks, labels, strict=True)])
        return Picture("reliability", canvas, caption)


def classes_figure(names: tuple[str, str], found: Sequence[TaskMeasures]) -> Picture:
    """Draw the change of each class's recall, sorted, a panel per task; changes beyond chance are filled."""
    caption = sentences(
        f"Recall of {names[0]} minus that of {names[1]} by class, sorted; classes by their index.",
        "Red: beyond chance (McNemar's test with Holm's correction over the task's classes, 5 %).",
    )
    labels = ["beyond chance", "not distinguished from chance"]
    with paper_style():
        canvas = _canvas(list(found), labels)
        for index, (axes, task) in enumerate(zip(canvas.axes, found, strict=True)):
            rows = sorted(task.classes, key=lambda row: (row.change, row.label))
            axes.set_title(task.task)
            colours = [_FOUND if row.changed else _CHANCE for row in rows]
            axes.bar(np.arange(len(rows)), [row.change for row in rows], color=colours, width=0.8)
            axes.axhline(0.0, color="#333333", linewidth=0.6)
            _percent_axes(axes, None)
            if len(rows) <= 12:
                axes.set_xticks(np.arange(len(rows)), [str(row.label) for row in rows], fontsize=6)
            else:
                axes.set_xticks([])
            if index % _COLUMNS == 0:
                axes.set_ylabel("Change of recall (%)")
            axes.set_xlabel("Class")
        looks = [(colour, "s", "none") for colour in (_FOUND, _CHANCE)]
        canvas.legend([_handle(*look, label) for look, label in zip(looks, labels, strict=True)])
        return Picture("classes", canvas, caption)


def _canvas(tasks: Sequence[TaskMeasures], labels: list[str]) -> Canvas:
    columns = min(len(tasks), _COLUMNS)
    return Canvas(len(tasks), columns, _PAGE if columns > 1 else _COLUMN, 1.7, labels)


def _pooled(runs: Sequence[Scored]) -> Reliability:
    """Return the bins over all runs together."""
    names = ("confidence", "right", "nll", "brier")
    return reliability(Scored(*(np.concatenate([getattr(run, name) for run in runs]) for name in names)))


def _percent_axes(axes: Any, limits: tuple[float, float] | None) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    text = FuncFormatter(lambda value, _: percent(value, 0))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(text)
    if limits is not None:
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        axes.set_xticks(np.linspace(0.0, 0.8, 5))
        axes.xaxis.set_major_formatter(text)


def _handle(colour: str, marker: str, line: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle=line, markersize=3.5, label=label)
