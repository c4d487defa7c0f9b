"""Predicted classes of many runs, task by task, in compact arrays whose columns are the same images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..schema import ResultsError


class Kept(Protocol):
    """What a run kept of its test predictions; :class:`sparsebench.store.Predictions` is one."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """True class indices, shape (n,)."""

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Predicted class indices, shape (n,)."""


@dataclass(frozen=True, eq=False)
class TaskClasses:
    """Predicted classes of many runs on the test images of one task.

    Parameters
    ----------
    task : str
        The task.
    ids : tuple of str
        The n images.
    labels : ndarray of int, shape (n,)
        True class indices.
    runs : tuple of str
        The keys of the runs.
    predicted : ndarray of unsigned int, shape (runs, n)
        Predicted class indices, in the smallest type that holds them all.
    """

    task: str
    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    runs: tuple[str, ...]
    predicted: npt.NDArray[np.unsignedinteger]

    def wrong(self, runs: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which images some of the runs got wrong, shape (runs, n)."""
        rows = [self.runs.index(run) for run in runs]
        return np.stack([self.predicted[row] != self.labels for row in rows])


def align(kept: Iterable[tuple[str, str, Kept]]) -> dict[str, TaskClasses]:
    """Return the predicted classes of many runs by task, each image in one column whatever a run's own order was.

    Parameters
    ----------
    kept : iterable of (task, run, kept predictions)
        Taken one at a time, so that they needn't fit into memory together. A task's first run decides the order.

    Raises
    ------
    ResultsError
        If two runs of one task were tested on different images or labels, or one names an image twice.
    """
    firsts: dict[str, Kept] = {}
    rows: dict[str, dict[str, npt.NDArray[np.unsignedinteger]]] = {}
    for task, run, own in kept:
        first = firsts.setdefault(task, own)
        predicted = own.predicted
        if own is first or (own.ids is not first.ids and own.ids != first.ids):
            predicted = predicted[_order(first, own, task, run)]
        elif not np.array_equal(own.labels, first.labels):
            raise _different(task, run)
        rows.setdefault(task, {})[run] = predicted.astype(np.min_scalar_type(int(predicted.max(initial=0))))
    return {task: _stacked(task, firsts[task], own) for task, own in rows.items()}


def _order(first: Kept, own: Kept, task: str, run: str) -> npt.NDArray[np.int64]:
    """Return where in a run's own order the images of the first run lie."""
    places = {name: place for place, name in enumerate(own.ids)}
    if len(places) < len(own.ids):
        raise ResultsError(
            f"the run {run} on {task} predicted some image twice", "run its cell again with --overwrite always"
        )
    if len(own.ids) != len(first.ids) or any(name not in places for name in first.ids):
        raise _different(task, run)
    order = np.array([places[name] for name in first.ids], dtype=np.int64)
    if not np.array_equal(own.labels[order], first.labels):
        raise _different(task, run)
    return order


def _different(task: str, run: str) -> ResultsError:
    return ResultsError(
        f"the run {run} on {task} was tested on other images or labels than the runs beside it",
        "compare runs of one split",
    )


def _stacked(task: str, first: Kept, rows: dict[str, npt.NDArray[np.unsignedinteger]]) -> TaskClasses:
    kind = np.result_type(*{row.dtype for row in rows.values()})
    predicted = np.empty((len(rows), len(first.ids)), dtype=kind)
    for place, row in enumerate(rows.values()):
        predicted[place] = row
    return TaskClasses(task, first.ids, np.asarray(first.labels, dtype=np.int64), tuple(rows), predicted)
