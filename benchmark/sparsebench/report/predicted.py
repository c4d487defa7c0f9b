"""Predictions of runs, one at a time and in one order of images, with logits where they were kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..analysis.building import cluster_numbers
from ..analysis.temperature import halves
from ..registry import Registry
from ..schema import ResultsError
from ..store import Predictions, Store
from ..store.classes import classes_reader

Read = Callable[[str], Predictions]
"""Returns the predictions of a run, by its record key."""


def predictions_of(results: Path | str, keys: Collection[str]) -> Read:
    """Return what reads the predictions of runs, with their logits where these were kept.

    Parameters
    ----------
    results : Path or str
        A results folder, or a curated table with its ``predictions.npz`` (predicted classes alone).
    keys : collection of str
        The runs' record keys.

    Raises
    ------
    ResultsError
        When a run is read that kept no predictions, or whose file is missing or damaged.
    """
    if isinstance(results, Path) and (results / "records").is_dir():
        store = Store(results)
        records = {record.record_key: record for record in store.read(set(keys))}
        return lambda key: store.predictions(records[key])
    kept = dict(classes_reader(results)(set(keys)))

    def curated(key: str) -> Predictions:
        if key not in kept:
            raise ResultsError(
                f"{str(results)!r} has no predictions of the run {key}",
                "give a results folder, or a curated one with its predictions.npz",
            )
        return kept[key]

    return curated


@dataclass(frozen=True, eq=False)
class Images:
    """The test images of a task.

    Parameters
    ----------
    task : str
        The task.
    ids : tuple of str
        The n images, in the order that all arrays have.
    labels : ndarray of int, shape (n,)
        True class indices.
    clusters : ndarray of int, shape (n,), optional
        The source of each image, where the task declares what comes from one.
    sources : mapping of str to str
        The name of an image's source, where it isn't its own.
    """

    task: str
    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    clusters: npt.NDArray[np.int64] | None
    sources: Mapping[str, str]

    @cached_property
    def second(self) -> npt.NDArray[np.bool_]:
        """Which of two halves an image is in, sources together; see :func:`sparsebench.analysis.halves`."""
        own = self.sources
        return halves([f"source {own[name]}" if name in own else f"image {name}" for name in self.ids])

    @classmethod
    def of(cls, task: str, kept: Predictions, registry: Registry) -> Images:
        """Return the images of a run's predictions."""
        if len(set(kept.ids)) < len(kept.ids) or not kept.ids:
            raise ResultsError(
                f"a run on {task} predicted no image, or some image twice", "run its cell again with --overwrite always"
            )
        declared = registry.tasks.get(task.partition("@")[0])
        named = {}
        if declared is not None and declared.clusters is not None:
            found = ((image, declared.clusters.source_of(image)) for image in kept.ids)
            named = {image: source for image, source in found if source is not None}
        numbers = cluster_numbers(kept.ids, named) if named else None
        return cls(task, kept.ids, np.asarray(kept.labels, dtype=np.int64), numbers, named)

    def ordered(self, kept: Predictions, run: str) -> Predictions:
        """Return a run's predictions in the order of these images.

        Raises
        ------
        ResultsError
            If it was tested on other images or labels.
        """
        if kept.ids != self.ids:
            places = {name: place for place, name in enumerate(kept.ids)}
            if len(kept.ids) != len(self.ids) or any(name not in places for name in self.ids):
                raise self._different(run)
            order = np.array([places[name] for name in self.ids])
            logits = None if kept.logits is None else kept.logits[order]
            labels, predicted = kept.labels[order], kept.predicted[order]
            kept = replace(kept, ids=self.ids, labels=labels, predicted=predicted, logits=logits)
        if not np.array_equal(kept.labels, self.labels):
            raise self._different(run)
        return kept

    def _different(self, run: str) -> ResultsError:
        return ResultsError(
            f"the run {run} on {self.task} was tested on other images or labels than the runs beside it",
            "compare runs of one split",
        )
