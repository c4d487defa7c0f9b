"""Figures of two checkpoints beyond accuracy: reliability diagrams, and how recall changes class by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...analysis.calibration import BINS, Reliability, Scored, reliability
from ...common import files
from ...schema import ResultsError
from ..measures import TEST_HALVES, VAL, TaskMeasures
from ..style import DENSE_COLOUR, percent, sentences
from .canvas import Canvas, Picture, paper_style

_COLOURS = ("#4477aa", DENSE_COLOUR)
_MARKERS = ("o", "s")
_FOUND, _CHANCE = "#cc3311", "#999999"
_FEWEST = 10  # images in a bin that is drawn
_COLUMNS, _PAGE, _COLUMN = 3, 7.0, 3.5


def figures(names: tuple[str, str], found: Sequence[TaskMeasures]) -> Iterator[Picture]:
    """Yield the figures ``reliability`` (where logits were kept), ``classes`` and ``confusion``.

    Parameters
    ----------
    names : tuple of str
        Both checkpoints.
    found : sequence of TaskMeasures
        By task.
    """
    reliable = reliability_figure(names, found)
    yield from () if reliable is None else (reliable,)
    yield classes_figure(names, found)
    yield confusion_figure(names, found)


def write_picture(folder: Path, picture: Picture) -> Iterator[Path]:
    """Write a figure as PNG and PDF, its caption beside as text and as a LaTeX figure; yield each file once written.

    Raises
    ------
    ResultsError
        If the folder can't be written to.
    """
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
        "Dotted: after temperature scaling.",
        *_of_temperatures(tasks),
        *_noise_of_calibration(found),
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
        canvas.legend([handle(*look, label) for look, label in zip(looks, labels, strict=True)])
        return Picture("reliability", canvas, caption)


def classes_figure(names: tuple[str, str], found: Sequence[TaskMeasures]) -> Picture:
    """Draw the change of each class's recall, sorted, a panel per task; changes beyond chance are filled."""
    caption = sentences(
        f"Recall of {names[0]} minus that of {names[1]} by class, sorted; classes by their index.",
        "Red: beyond chance (McNemar's test with Holm's correction over the task's classes, 5 %).",
        *_noise_of_classes(found),
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
        canvas.legend([handle(*look, label) for look, label in zip(looks, labels, strict=True)])
        return Picture("classes", canvas, caption)


def confusion_figure(names: tuple[str, str], found: Sequence[TaskMeasures]) -> Picture:
    """Draw the change of the confusion matrix, a panel per task."""
    from matplotlib.ticker import MaxNLocator

    caption = sentences(
        f"Confusion of {names[0]} minus that of {names[1]}: of each true class (row) the percent predicted as each"
        " class (column), in the mean over runs; classes by their index.",
        "Red: more often than the second; on the diagonal red is better. Colours end at the largest change of each"
        " panel, which its title gives in points.",
        *_noise_of_classes(found),
    )
    with paper_style():
        columns = min(len(found), _COLUMNS)
        canvas = Canvas(len(found), columns, _PAGE if columns > 1 else _COLUMN, 1.78 if columns > 1 else 2.6, [])
        for index, (axes, task) in enumerate(zip(canvas.axes, found, strict=True)):
            change = task.populations.confusions[0] - task.populations.confusions[1]
            most = max(float(np.abs(change).max()), 1e-9)
            axes.set_title(f"{task.task}, ±{percent(most, 0)}")
            axes.imshow(change, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
            axes.grid(visible=False)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
            if index % columns == 0:
                axes.set_ylabel("True class")
            axes.set_xlabel("Predicted class")
        return Picture("confusion", canvas, caption)


def _of_temperatures(tasks: Sequence[TaskMeasures]) -> Iterator[str]:
    """Yield what temperatures were fitted on."""
    if any(VAL in task.fitted_on for task in tasks):
        yield "Temperatures are fitted on the validation images where these were held out."
    if any(TEST_HALVES in task.fitted_on for task in tasks):
        yield "Without validation images each half of the test images has a temperature fitted on the other."


def _noise_of_calibration(found: Sequence[TaskMeasures]) -> list[str]:
    """Return the calibration errors, and how much they differ between two runs of one checkpoint."""
    parts = []
    for task in found:
        if not task.has_logits:
            continue
        values = [f"{percent(own['ece'].value, 1)}" for own in (task.first, task.second)]
        noise = [levels["ece"] for levels in task.noise.values() if "ece" in levels]
        parts.append(f"{task.task} {' and '.join(values)}" + (f" (noise {percent(max(noise), 1)})" if noise else ""))
    return [
        f"Expected calibration error in percent, before scaling: {'; '.join(parts)}. Noise: the difference between two"
        " runs of one checkpoint."
    ]


def _noise_of_classes(found: Sequence[TaskMeasures]) -> list[str]:
    """Return how large a change chance makes: two standard errors of a recall of one half, in the smallest class."""
    least = {task.task: min((row.n for row in task.classes), default=0) for task in found}
    known = [f"{name} {percent(n**-0.5, 0)} ({n} images)" for name, n in least.items() if n]
    first = "Noise: two standard errors of a recall of 50 % in the smallest class, as if images were independent"
    return [f"{first}: {', '.join(known)}."]


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


def handle(colour: str, marker: str, line: str, label: str) -> Any:
    """Return an entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle=line, markersize=3.5, label=label)
