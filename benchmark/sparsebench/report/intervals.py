"""Relative error increases of a group's entries with intervals of a named scope, and ranks among those of one scope.

Where all runs of an entry and of its reference kept predictions, intervals cover test images, and seeds and upstream
replicates where there are several; else they cover seeds alone, with a bound for the test images beside them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..analysis import IMAGES, REPLICATES, SEEDS, Panel, TaskClasses, Wrong, align, image_bound, rank_intervals
from ..analysis.building import cluster_numbers
from ..analysis.components import Components, components
from ..analysis.intervals import Interval, interval
from ..analysis.metrics import Sample, mean, relative_error_increase_interval
from ..analysis.sources import standard_deviations
from ..analysis.statistics import relative_error_increases
from ..analysis.without_predictions import seeds_components
from ..schema import Clusters
from ..store.classes import Reader

INTERVAL_COLUMNS: tuple[str, ...] = (
    "relative_error",
    "relative_error_low",
    "relative_error_high",
    "scope",
    "image_bound",
    "seeds_low",
    "seeds_high",
    "images_low",
    "images_high",
    "tasks_low",
    "tasks_high",
    "relative_error_tasks",
    "rank_low",
    "rank_high",
    "ranked",
    "better_than",
    "sd_images",
    "sd_seeds",
    "sd_replicates",
    "sd_observed",
    "sd_both",
    "sd_tasks",
    "n_replicates",
)
"""What :func:`group_intervals` gives for an entry."""

TOLERANCE = 1e-6
"""Of an accuracy that predictions give and the one that the run recorded."""


@dataclass(frozen=True)
class Run:
    """A finished run of a cell."""

    checkpoint: str
    replicate: int
    seed: int | None
    record_key: str | None
    accuracy: float


@dataclass(frozen=True)
class Entry:
    """What an entry's relative error increase is computed from.

    Parameters
    ----------
    name : str
        The entry.
    own, reference : mapping of str to tuple of Run
        By task, on the tasks that both ran; an entry that is its own reference has the same runs twice.
    metrics : mapping of str to str
        By task.
    n_test : mapping of str to int
        Test images by task, where that is known.
    complete : bool
        Whether it ran all tasks of its group, so that it is ranked.
    """

    name: str
    own: Mapping[str, tuple[Run, ...]]
    reference: Mapping[str, tuple[Run, ...]]
    metrics: Mapping[str, str]
    n_test: Mapping[str, int]
    complete: bool

    @property
    def itself(self) -> bool:
        """Whether it is its own reference."""
        return self.own == self.reference

    def model(self, runs: Mapping[str, tuple[Run, ...]]) -> str:
        """Return a name for the checkpoints that runs are of."""
        return "\n".join(sorted({run.checkpoint for own in runs.values() for run in own}))


class Kept:
    """Predicted classes, read for one group at a time.

    Parameters
    ----------
    reader : callable, optional
        See :func:`sparsebench.store.classes.classes_reader`.
    clusters : mapping of str to Clusters
        By task: which images come from one source.
    """

    def __init__(self, reader: Reader | None = None, clusters: Mapping[str, Clusters] | None = None) -> None:
        self._reader = reader
        self._clusters = clusters or {}

    def read(self, runs: Mapping[str, Mapping[str, Run]]) -> dict[str, TaskClasses]:
        """Return the predicted classes of runs, given by task and record key.

        Runs that kept none, or whose accuracy isn't that of predicted classes (a mean over few-shot draws), are left
        out.
        """
        task_of = {key: task for task, own in runs.items() for key in own}
        if self._reader is None or not task_of:
            return {}
        return align((task_of[key], key, kept) for key, kept in self._reader(set(task_of)) if key in task_of)

    def sources(self, task: str, ids: tuple[str, ...]) -> np.ndarray | None:
        """Return a number for the source of each image, where the task declares what comes from one source."""
        own = self._clusters.get(task.partition("@")[0])
        if own is None:
            return None
        named = ((image, own.source_of(image)) for image in ids)
        sources = {image: source for image, source in named if source is not None}
        return cluster_numbers(ids, sources) if sources else None


def group_intervals(entries: Sequence[Entry], kept: Kept) -> dict[str, dict[str, Any]]:
    """Return :data:`INTERVAL_COLUMNS` by entry of one group."""
    panels = _panels(entries, kept)
    found = {entry.name: _nothing(entry) for entry in entries}
    rest = [entry for entry in entries if entry.own]
    classes: dict[tuple[str, ...], list[Entry]] = {}
    for entry in rest:
        tasks = _used(entry)
        if not tasks:
            continue
        scope, values = _own_interval(entry, tasks, panels)
        found[entry.name] |= values
        if entry.complete and scope:
            classes.setdefault((scope, *tasks), []).append(entry)
    for (_, *tasks), members in classes.items():
        if len(members) > 1:
            ranks = rank_intervals(_parts(members, tasks, panels))
            for place, member in enumerate(members):
                found[member.name] |= {
                    "rank_low": int(ranks.low[place]),
                    "rank_high": int(ranks.high[place]),
                    "ranked": len(members),
                    "better_than": " ".join(
                        m.name for m, below in zip(members, ranks.below[place], strict=True) if below
                    ),
                }
    return found


def _nothing(entry: Entry) -> dict[str, Any]:
    """Return the columns of an entry without anything to be compared with."""
    values: dict[str, Any] = dict.fromkeys(INTERVAL_COLUMNS, math.nan)
    return (
        values
        | {"scope": "", "better_than": "", "relative_error_tasks": 0}
        | dict.fromkeys(("rank_low", "rank_high", "ranked"))
    )


def _used(entry: Entry) -> list[str]:
    """Return the tasks on which the entry's reference makes an error."""
    if entry.itself:
        return sorted(entry.own)
    return sorted(task for task, runs in entry.reference.items() if sample_of(runs).mean < 1.0)


def sample_of(runs: Collection[Run]) -> Sample:
    """Return the mean accuracy over replicates of their means over seeds, and the spread over seeds within them."""
    own: dict[int, list[float]] = {}
    for run in runs:
        own.setdefault(run.replicate, []).append(run.accuracy)
    samples = [Sample.of(values) for _, values in sorted(own.items())]
    if len(samples) == 1:
        return samples[0]
    spread = [(s.sd**2, s.n - 1) for s in samples if s.n > 1]
    degrees = sum(df for _, df in spread)
    sd = math.sqrt(math.fsum(v * df for v, df in spread) / degrees) if degrees else math.nan
    return Sample(mean(s.mean for s in samples), sd, sum(s.n for s in samples))


def _panels(entries: Sequence[Entry], kept: Kept) -> dict[str, Panel]:
    """Return one panel per task, with the models all of whose runs kept their predictions."""
    models: dict[str, dict[str, tuple[Run, ...]]] = {}
    metrics: dict[str, str] = {}
    for entry in entries:
        metrics |= entry.metrics
        for runs in (entry.own, entry.reference):
            for task, own in runs.items():
                models.setdefault(task, {})[entry.model(runs)] = own
    wanted = {
        task: {run.record_key: run for runs in own.values() for run in runs if run.record_key and run.seed is not None}
        for task, own in models.items()
    }
    panels = {}
    for task, classes in kept.read(wanted).items():
        panel = _panel(task, metrics[task], models[task], classes, kept)
        if panel is not None:
            panels[task] = panel
    return panels


def _panel(
    task: str, metric: str, models: Mapping[str, tuple[Run, ...]], classes: TaskClasses, kept: Kept
) -> Panel | None:
    there = set(classes.runs)
    found = {}
    for name, runs in models.items():
        levels = tuple((run.replicate, run.seed if run.seed is not None else 0) for run in runs)
        keys = [run.record_key or "" for run in runs]
        if there.issuperset(keys) and len(set(levels)) == len(levels):
            found[name] = Wrong(classes.wrong(keys), levels)
    panel = Panel(task, classes.labels, found, metric, kept.sources(task, classes.ids))  # type: ignore[arg-type]
    agreeing = {name: wrong for name, wrong in found.items() if _agrees(panel, models[name], wrong)}
    return replace(panel, models=agreeing) if agreeing else None


def _agrees(panel: Panel, runs: tuple[Run, ...], wrong: Wrong) -> bool:
    """Return whether predictions give the accuracies that were recorded; a few-shot accuracy is a mean over draws."""
    accuracies = 1.0 - np.array([panel.design.mean(row) for row in wrong.values])
    return bool(np.all(np.abs(accuracies - [run.accuracy for run in runs]) < TOLERANCE))


def _has_panels(entry: Entry, tasks: Sequence[str], panels: Mapping[str, Panel]) -> bool:
    names = {entry.model(entry.own), entry.model(entry.reference)}
    return all(task in panels and names <= panels[task].models.keys() for task in tasks)


def _parts(members: Sequence[Entry], tasks: Sequence[str], panels: Mapping[str, Panel]) -> Components:
    """Return the covariance of the relative error increases of entries of one scope."""
    references = {entry.model(entry.own): entry.model(entry.reference) for entry in members}
    if all(_has_panels(entry, tasks, panels) for entry in members):
        return components(relative_error_increases([panels[task] for task in tasks], references))
    cells: list[dict[str, Sample]] = []
    for task in tasks:
        own = {e.model(runs): sample_of(runs[task]) for e in members for runs in (e.own, e.reference)}
        cells.append(own)
    return seeds_components(cells, references)


def _own_interval(entry: Entry, tasks: Sequence[str], panels: Mapping[str, Panel]) -> tuple[str, dict[str, Any]]:
    """Return the scope that an entry is ranked under, and its columns."""
    samples = [{task: sample_of(runs[task]) for task in tasks} for runs in (entry.own, entry.reference)]
    seeds = relative_error_increase_interval(*samples)
    values: dict[str, Any] = {
        "relative_error": 0.0 if entry.itself else seeds.value,
        "relative_error_tasks": len(tasks),
    }
    if entry.itself:
        scope = _scope(entry, tasks, panels)
        return scope, values | {"relative_error_low": 0.0, "relative_error_high": 0.0, "scope": scope}
    values |= {"seeds_low": seeds.low, "seeds_high": seeds.high}
    if not _has_panels(entry, tasks, panels):
        errors = {task: (1.0 - samples[0][task].mean, 1.0 - samples[1][task].mean) for task in tasks}
        known = all(task in entry.n_test for task in tasks)
        scope = "" if math.isnan(seeds.low) else SEEDS
        return scope, values | {
            "relative_error_low": seeds.low,
            "relative_error_high": seeds.high,
            "scope": scope,
            "image_bound": image_bound(errors, entry.n_test) if known else math.nan,
        }
    parts = _parts([entry], tasks, panels)
    whole = interval(parts)
    images = interval(_images_alone(parts))
    values |= {
        "relative_error_low": whole.low,
        "relative_error_high": whole.high,
        "scope": whole.covers if whole.scope else "",
        "images_low": images.low,
        "images_high": images.high,
    }
    if len(tasks) > 1:
        sampled = interval(components(parts.statistics, random_tasks=True))
        values |= {"tasks_low": sampled.low, "tasks_high": sampled.high}
    found = standard_deviations(parts)
    values |= {f"sd_{name}": found[name] for name in ("images", "seeds", "replicates", "observed", "both", "tasks")}
    values["n_replicates"] = int(found["n_replicates"])  # those whose reference ran, too
    return values["scope"], values


def _images_alone(parts: Components) -> Components:
    """Return the part of test images, with the heads and backbones that there are."""
    return replace(parts, levels=(), both=())


def _scope(entry: Entry, tasks: Sequence[str], panels: Mapping[str, Panel]) -> str:
    """Return what intervals of an entry that is its own reference would cover: what others against it can cover."""
    runs = [runs for task, runs in entry.own.items() if task in tasks]
    seeds = all(_most_seeds(own) > 1 for own in runs)
    if not _has_panels(entry, tasks, panels):
        return SEEDS if seeds else ""
    replicates = all(len({run.replicate for run in own}) > 1 for own in runs)
    factors = (*((SEEDS,) if seeds or replicates else ()), IMAGES, *((REPLICATES,) if replicates else ()))
    return Interval(0.0, 0.0, 0.0, factors).covers


def _most_seeds(runs: tuple[Run, ...]) -> int:
    counts: dict[int, int] = {}
    for run in runs:
        counts[run.replicate] = counts.get(run.replicate, 0) + 1
    return max(counts.values())
