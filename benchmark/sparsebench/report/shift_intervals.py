"""Intervals of the mean corruption error: over seeds, and over test images where predictions were kept.

The mean over tasks and corruptions of a ratio of errors is linearised (the delta method): what a seed or an image adds
to it is its own error minus the ratio times the reference's, divided by the reference's. All corruptions of a task are
of the same images, so an image's parts are added up before their variance is estimated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..analysis.calibration import expected_calibration_error
from ..analysis.intervals import half_width
from ..analysis.metrics import mean
from ..registry import Registry, load_tasks
from ..store.further import CLEAN

if TYPE_CHECKING:
    from ..store import Predictions
    from ..store.further import Kept
    from .shift import Cell

Array = npt.NDArray[np.float64]
Pairs = Sequence[Sequence[tuple["Cell", "Cell"]]]
"""By task and corruption: a checkpoint's cells and its reference's, severity by severity."""


@dataclass(frozen=True)
class Spread:
    """Half the width of a 95 % interval, and what it covers; NaN and nothing where it can't be known."""

    half: float = math.nan
    scope: str = ""


@dataclass
class Scored:
    """What runs got wrong on further test sets, read once per cell."""

    kept: Kept | None
    registry: Registry | None = None
    _known: dict[tuple[tuple[str, int], ...], dict[str, Array | None]] = field(default_factory=dict)
    _clean: dict[tuple[tuple[str, int], ...], float] = field(default_factory=dict)
    _sources: dict[tuple[str, int], Array] = field(default_factory=dict)

    def wrong(self, cell: Cell) -> Array | None:
        """Return each image's error, mean over runs, weighted so that their mean is the cell's; None if not kept."""
        own = self._known.setdefault(cell.keys, {})
        if cell.test not in own:
            own[cell.test] = self._read(cell)
        return own[cell.test]

    def _read(self, cell: Cell) -> Array | None:
        if self.kept is None:
            return None
        total: Array | None = None
        for key, _ in cell.keys:
            predictions = self.kept(key, cell.test)
            if predictions is None:
                return None
            wrong = _weights(predictions, cell.metric) * (predictions.predicted != predictions.labels)
            total = wrong if total is None else total + wrong
            self._sources.setdefault((cell.task, len(wrong)), self._source_of(cell.task, predictions))
        return None if total is None else total / len(cell.keys)

    def clean_ece(self, cell: Cell) -> float:
        """Return the calibration error of a cell's runs on the task's own test images; NaN without their logits."""
        if cell.keys not in self._clean:
            found = [None if self.kept is None else self.kept(key, CLEAN) for key, _ in cell.keys]
            logits = [(own.logits, own.labels) for own in found if own is not None and own.logits is not None]
            self._clean[cell.keys] = mean(expected_calibration_error(*own) for own in logits)
        return self._clean[cell.keys]

    def _source_of(self, task: str, predictions: Predictions) -> Array:
        """Return a number of each image's source."""
        self.registry = self.registry or load_tasks()
        declared = self.registry.tasks.get(task)
        if declared is None or declared.clusters is None:
            return np.arange(len(predictions.ids), dtype=np.float64)
        names = [declared.clusters.source_of(name) or f"\n{name}" for name in predictions.ids]
        return np.unique(names, return_inverse=True)[1].astype(np.float64)

    def sources(self, cell: Cell) -> Array:
        """Return a number of the source of each of a cell's images, once it was read."""
        return self._sources[cell.task, cell.images]


def _weights(predictions: Predictions, metric: str) -> Array:
    """Return the weight of each image's error; their mean is 1."""
    labels = predictions.labels
    if metric != "mean_per_class":
        return np.ones(len(labels))
    counts = np.bincount(labels)
    return len(labels) / (np.count_nonzero(counts) * counts[labels])


def spread_of(pairs: Pairs, scored: Scored) -> Spread:
    """Return the interval of the mean, over tasks and corruptions, of summed errors as shares of the reference's."""
    if not pairs:
        return Spread()
    tasks = [both[0][0].task for both in pairs]
    count = {task: tasks.count(task) for task in tasks}
    weights = [1.0 / (len(count) * count[task]) for task in tasks]
    parts = []
    for side in (0, 1):
        by_seed = _by_seed(pairs, weights, side)
        if len(by_seed) > 1:
            parts.append((float(np.var(by_seed, ddof=1)) / len(by_seed), float(len(by_seed) - 1)))
    scope = ["seeds"] if parts else []
    images = [_of_images([(w, both) for w, both, own in zip(weights, pairs, tasks, strict=True) if own == task], scored)
              for task in count]  # fmt: skip
    if all(part is not None for part in images):
        parts += [part for part in images if part is not None]
        scope.append("test images")
    return Spread(half_width(parts, 0.05), " and ".join(scope)) if parts else Spread()


def _by_seed(pairs: Pairs, weights: Sequence[float], side: int) -> Array:
    """Return what each seed of one side gives, the other side at its mean; nothing where cells differ in seeds."""
    seeds = {tuple(seed for _, seed in both[k][side].keys) for both in pairs for k in range(len(both))}
    if len(seeds) != 1:
        return np.zeros(0)
    total = np.zeros(len(next(iter(seeds))))
    for weight, both in zip(weights, pairs, strict=True):
        against = math.fsum(b.error for _, b in both)
        ratio = math.fsum(a.error for a, _ in both) / against
        own = sum(1.0 - np.array(cells[side].by_run) for cells in both) / against
        total += weight * (own if side == 0 else -ratio * own)
    return total


def _of_images(
    pairs: Sequence[tuple[float, Sequence[tuple[Cell, Cell]]]], scored: Scored
) -> tuple[float, float] | None:
    """Return the variance that a task's images cause, and its degrees of freedom; None without predictions."""
    total: Array | None = None
    for weight, both in pairs:
        against = math.fsum(b.error for _, b in both)
        ratio = math.fsum(a.error for a, _ in both) / against
        for a, b in both:
            own, theirs = scored.wrong(a), scored.wrong(b)
            if own is None or theirs is None or len(own) != len(theirs):
                return None
            part = weight * (own - ratio * theirs) / against
            if total is not None and len(part) != len(total):
                return None
            total = part if total is None else total + part
    assert total is not None  # noqa: S101 - there is a pair
    sources = scored.sources(pairs[0][1][0][0])
    sums = np.bincount(sources.astype(np.int64), weights=total - total.mean())
    groups = len(sums)
    if groups < 2:
        return None
    return groups / (groups - 1) * float(np.square(sums).sum()) / len(total) ** 2, float(groups - 1)
