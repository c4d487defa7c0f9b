"""Panels from a table of runs and their predicted classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .classes import TaskClasses
from .panels import Panel, Wrong

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS: tuple[str, ...] = ("model", "replicate", "task", "metric", "seed", "record_key")
"""What a table of runs must have; ``model`` is the same for the replicates of one entry."""


def build_panels(
    runs: pd.DataFrame,
    classes: Mapping[str, TaskClasses],
    clusters: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[Panel, ...]:
    """Return one panel per task, sorted by task.

    Parameters
    ----------
    runs : DataFrame
        One row per run, with :data:`RUN_COLUMNS`. A model, replicate, task and seed occur once.
    classes : mapping of str to TaskClasses
        By task: the predicted classes, under the runs' record keys (see :func:`.classes.align`).
    clusters : mapping of str to mapping of str to str, optional
        By task: the source of each image, by its id. An image that isn't named is its own source.

    Raises
    ------
    ValueError
        If a run occurs twice, or the runs of one task differ in metric.
    """
    panels = []
    for task, rows in runs.groupby("task", sort=True):
        metrics = sorted(set(rows["metric"]))
        if len(metrics) > 1:
            raise ValueError(f"runs on {task} differ in metric: {', '.join(metrics)}")
        own = classes[str(task)]
        models = {}
        for model, members in rows.groupby("model", sort=True):
            levels = tuple(zip(members["replicate"].astype(int), members["seed"].astype(int), strict=True))
            if len(set(levels)) < len(levels):
                raise ValueError(f"{model} on {task} has a run of the same replicate and seed twice")
            models[str(model)] = Wrong(own.wrong(members["record_key"].tolist()), levels)
        sources = None if clusters is None or task not in clusters else cluster_numbers(own.ids, clusters[str(task)])
        panels.append(Panel(str(task), own.labels, models, metrics[0], sources))
    return tuple(panels)


def cluster_numbers(ids: tuple[str, ...], sources: Mapping[str, str]) -> npt.NDArray[np.int64]:
    """Return a number for the source of each image; one that has none named is its own."""
    named = [("source", sources[name]) if name in sources else ("image", name) for name in ids]
    numbers = {source: number for number, source in enumerate(dict.fromkeys(named))}
    return np.array([numbers[source] for source in named], dtype=np.int64)
