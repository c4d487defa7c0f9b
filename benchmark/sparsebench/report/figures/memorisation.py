"""The figure of trainings with random labels: what is memorised and recovered, over dense and sparse phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..style import percent, sentences
from .canvas import Canvas, Picture, paper_style

_LOOKS = (
    ("memorised", "Memorised: the random label", "#aa3377", "o"),
    ("recovered", "Recovered: the true label", "#4477aa", "s"),
    ("val_top1", "Validation", "#777777", "none"),
)
_SPARSE = "#eeeeee"
_WIDTH, _PAGE = 3.5, 7.0


@dataclass(frozen=True)
class Memorised:
    """The log of a training with random labels.

    Parameters
    ----------
    title : str
        What the training is called.
    lines : sequence of dict
        Epochs in order, as ``sparsebench prune --relabel`` logs them; fractions.
    images, classes : int
        Relabelled images, and classes.
    """

    title: str
    lines: Sequence[dict[str, Any]]
    images: int
    classes: int


def memorisation_figure(logs: Sequence[Memorised], name: str = "memorisation", scale: float = 1.0) -> Picture:
    """Draw accuracies over epochs, a panel per training, sparse phases shaded.

    Parameters
    ----------
    logs : sequence of Memorised
        The trainings.
    name : str
        The stem of the figure's file name.
    scale : float
        Of the width: 3.5 inches for one training, 7 for several.
    """
    labels = [*(label for _, label, *_ in _LOOKS), "Sparse phase", "Chance"]
    columns = min(len(logs), 2)
    with paper_style():
        canvas = Canvas(len(logs), columns, scale * (_PAGE if columns > 1 else _WIDTH), 1.8, labels)
        top = max(float(line[column]) for log in logs for line in log.lines for column, *_ in _LOOKS)
        for index, (axes, log) in enumerate(zip(canvas.axes, logs, strict=True)):
            axes.set_title(log.title)
            for first, last in _sparse_phases(log.lines):
                axes.axvspan(first - 0.5, last + 0.5, color=_SPARSE, linewidth=0, zorder=0.5)
            axes.axhline(1.0 / log.classes, color="#333333", linestyle=":", linewidth=0.9)
            epochs = [int(line["epoch"]) + 1 for line in log.lines]
            for column, _, colour, marker in _LOOKS:
                values = [float(line[column]) for line in log.lines]
                axes.plot(epochs, values, color=colour, marker=marker, markersize=2.5, linewidth=1.0)
            _set_axes(axes, top)
            if index % columns == 0:
                axes.set_ylabel("Accuracy (%)")
            axes.set_xlabel("Epoch")
        canvas.legend(_handles(labels))
        return Picture(name, canvas, _caption(logs))


def _caption(logs: Sequence[Memorised]) -> str:
    sizes = sorted({(log.images, log.classes) for log in logs})
    noise = [2.0 * (1.0 / k * (1.0 - 1.0 / k) / n) ** 0.5 for n, k in sizes]
    texts = [
        f"{n} training images have labels drawn uniformly over {k} classes; chance is {percent(1 / k, 1)} ±"
        f" {percent(e, 1)} % (two standard errors)."
        for (n, k), e in zip(sizes, noise, strict=True)
    ]
    return sentences(
        "Accuracy after each epoch on the training images with random labels: against the label that they are trained"
        " on (memorised) and against the true one (recovered); and on the validation images.",
        *texts,
        "Shaded: the network is sparse at the end of the epoch. One training each, so no interval covers another seed.",
    )


def _sparse_phases(lines: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return the first and last epoch, counted from 1, of each stretch of sparse epochs."""
    phases = []
    for sparse, own in groupby(lines, key=lambda line: line["phase"] == "sparse"):
        epochs = [int(line["epoch"]) + 1 for line in own]
        if sparse:
            phases.append((epochs[0], epochs[-1]))
    return phases


def _set_axes(axes: Any, top: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(0.0, 1.05 * top)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, 0)))


def _handles(labels: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    lines = [
        Line2D([], [], color=colour, marker=marker, markersize=3.0, label=label)
        for label, (_, _, colour, marker) in zip(labels, _LOOKS, strict=False)
    ]
    chance = Line2D([], [], color="#333333", linestyle=":", linewidth=0.9, label=labels[-1])
    return [*lines, Patch(color=_SPARSE, label=labels[-2]), chance]
