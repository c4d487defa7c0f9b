"""A comparison from stored runs: paired by image where predictions were kept, over seeds alone where they weren't."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis import Panel, TaskClasses, align, build_panels, compare_models, holm, seeds_only, welch
from ..analysis.comparisons import Verdict, task_verdict
from ..analysis.metrics import Sample, student_t_quantile
from ..analysis.power import Needed
from ..registry import load_tasks
from ..schema import ResultsError
from ..store import Predictions
from ..store.classes import classes_reader
from .intervals import TOLERANCE
from .sides import Side, of_common_replicates

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TaskEvidence:
    """The two sides on one task; numbers are fractions, NaN where they can't be had.

    ``difference`` is the accuracy of the first minus that of the second. ``p`` is adjusted over tasks by Holm, as
    ``holm_p`` is from ``mcnemar_p``.
    """

    task: str
    difference: float
    low: float
    high: float
    mcnemar_p: float
    holm_p: float
    p: float
    only_first: int | None
    only_second: int | None
    verdict: Verdict


@dataclass(frozen=True)
class Evidence:
    """Whether the first side is better than the second.

    Parameters
    ----------
    first, second : tuple of str
        The entries on both sides.
    value, low, high : float
        Mean relative error increase of the first over the second, with its 95 % interval; negative is better.
    scope : str
        What the interval covers.
    image_bound : float
        Where the scope is seeds alone: half the width of a 95 % interval over test images, if the sides erred
        independently. Else NaN.
    verdict : {"better", "worse", "undecided"}
        On the first side.
    needed : Needed, optional
        What would decide, if the value seen is the true one; unknown without predictions, and where
        the interval covers tasks.
    tasks : tuple of TaskEvidence
        By task.
    perfect : tuple of str
        Tasks left out of the mean because the second side makes no error there.
    replicates_left_out : tuple of int
        Upstream replicates that not all checkpoints have.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    value: float
    low: float
    high: float
    scope: str
    image_bound: float
    verdict: Verdict
    needed: Needed | None
    tasks: tuple[TaskEvidence, ...]
    perfect: tuple[str, ...] = ()
    replicates_left_out: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON has them; null for NaN."""
        values = {
            "a": list(self.first),
            "b": list(self.second),
            "relative_error_increase": self.value,
            "low": self.low,
            "high": self.high,
            "scope": self.scope,
            "image_bound": self.image_bound,
            "verdict": self.verdict,
            "needed": None if self.needed is None else asdict(self.needed),
            "tasks": {task.task: _without_nan(_of_task(task)) for task in self.tasks},
            "left_out": list(self.perfect),
            "replicates_left_out": list(self.replicates_left_out),
        }
        return _without_nan(values)


def _of_task(task: TaskEvidence) -> dict[str, Any]:
    names = ("difference", "low", "high", "mcnemar_p", "holm_p", "p", "only_a", "only_b", "verdict")
    values = (
        task.difference, task.low, task.high, task.mcnemar_p, task.holm_p, task.p, task.only_first, task.only_second,
        task.verdict,
    )  # fmt: skip
    return dict(zip(names, values, strict=True))


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def evidence(first: Side, second: Side, random_tasks: bool = False) -> Evidence:
    """Compare two sides; see :func:`sparsebench.report.sides.read_sides`.

    Parameters
    ----------
    first, second : Side
        The sides.
    random_tasks : bool
        Whether the interval is to cover the choice of tasks. It needs predictions.

    Raises
    ------
    ResultsError
        If predictions are damaged, or nothing is left to compare.
    """
    first, second = of_common_replicates(first, second)
    found = _from_predictions(first, second, random_tasks)
    if found is None and random_tasks:
        raise ResultsError("an interval over tasks needs the predictions of all runs", "run the cells again")
    return found or _from_accuracies(first, second)


def _from_predictions(first: Side, second: Side, random_tasks: bool) -> Evidence | None:
    """Return what predictions show; None where a run kept none, or those of a few-shot accuracy's single draw."""
    import pandas as pd

    sides = [first, second]
    own = [
        _model_names(side, str(number) if first.results != second.results else "") for number, side in enumerate(sides)
    ]
    classes = align(kept for number, side in enumerate(sides) for kept in _classes(side, number))
    runs = pd.concat(
        [
            side.runs.assign(
                model=side.runs["entry"].map(names), record_key=[f"{number} {key}" for key in side.runs["record_key"]]
            )
            for number, (side, names) in enumerate(zip(sides, own, strict=True))
        ]
    ).drop_duplicates(["model", "replicate", "task", "seed"])
    kept = {key for found in classes.values() for key in found.runs}
    if runs["seed"].isna().any() or not kept.issuperset(runs["record_key"]):
        return None
    try:
        panels = build_panels(runs, classes, _clusters(classes))
        if not _agree(panels, runs):
            return None
        got = compare_models(panels, list(own[0].values()), list(own[1].values()), random_tasks=random_tasks)
    except ValueError as error:
        raise ResultsError(f"can't compare {first.text} and {second.text}: {error}") from error
    tasks = tuple(
        TaskEvidence(
            t.task, t.difference.value, t.difference.low, t.difference.high, t.mcnemar_p, t.holm_p, t.adjusted_p,
            t.only_first, t.only_second, t.verdict,
        )
        for t in got.tasks
    )  # fmt: skip
    o = got.overall
    return Evidence(
        tuple(first.entries), tuple(second.entries), o.value, o.low, o.high, o.covers, math.nan, got.verdict,
        None if random_tasks else got.needed, tasks, got.perfect, first.left_out,
    )  # fmt: skip


def _agree(panels: Sequence[Panel], runs: pd.DataFrame) -> bool:
    """Return whether predictions give the accuracies that were recorded."""
    keys = zip(runs["task"], runs["model"], runs["replicate"].astype(int), runs["seed"].astype(int), strict=True)
    recorded = dict(zip(keys, runs["accuracy"], strict=True))
    return all(
        abs(1.0 - float(panel.design.mean(row)) - recorded[panel.task, name, *level]) < TOLERANCE
        for panel in panels
        for name, wrong in panel.models.items()
        for level, row in zip(wrong.levels, wrong.values, strict=True)
    )


def _clusters(classes: Mapping[str, TaskClasses]) -> dict[str, dict[str, str]]:
    """Return the source of each image of the registered tasks that declare what comes from one source."""
    found = {}
    for name, own in classes.items():
        task = load_tasks().tasks.get(name)
        if task is not None and task.clusters is not None:
            sources = {image: task.clusters.source_of(image) for image in own.ids}
            found[name] = {image: source for image, source in sources.items() if source is not None}
    return {name: sources for name, sources in found.items() if sources}


def _model_names(side: Side, prefix: str) -> dict[str, str]:
    return {entry: f"{prefix} {entry}".strip() for entry in side.entries}


def _classes(side: Side, number: int) -> Iterator[tuple[str, str, Predictions]]:
    """Yield a side's predicted classes, under its number and record keys; its own name for a task counts."""
    tasks = dict(zip(side.runs["record_key"], side.runs["task"], strict=True))
    for key, kept in classes_reader(side.results)(tasks.keys()):
        yield tasks[key], f"{number} {key}", kept


def _from_accuracies(first: Side, second: Side) -> Evidence:
    """Return what accuracies alone show."""
    cells = [_accuracies(side) for side in (first, second)]
    samples = [{task: Sample.of(values) for task, values in own.items()} for own in cells]
    sizes = first.runs.dropna(subset="n_test")
    n_test = {str(task): int(n) for task, n in zip(sizes["task"], sizes["n_test"], strict=True)}
    got = seeds_only(samples[0], samples[1], n_test)
    tasks, tests = sorted(cells[0].keys() & cells[1].keys()), []
    for task in tasks:
        tests.append(_welch_interval(cells[0][task], cells[1][task]))
    adjusted = holm([p for *_, p in tests])
    overall = got.interval
    verdict: Verdict = "better" if overall.high < 0 else "worse" if overall.low > 0 else "undecided"
    rows = tuple(
        TaskEvidence(task, value, low, high, math.nan, math.nan, p, None, None, task_verdict(value, p))
        for task, (value, low, high, _), p in zip(tasks, tests, adjusted, strict=True)
    )
    perfect = tuple(task for task in tasks if task not in got.tasks)
    if not got.tasks:
        raise ResultsError(
            f"{second.text} makes no error on any task of {first.text}: no increase is relative to nothing"
        )
    return Evidence(
        tuple(first.entries), tuple(second.entries), overall.value, overall.low, overall.high, overall.covers,
        got.images, verdict, None, rows, perfect, first.left_out,
    )  # fmt: skip


def _accuracies(side: Side) -> dict[str, np.ndarray]:
    """Return accuracies by task, one per replicate and seed that all entries have: the mean over entries."""
    result = {}
    for task, rows in side.runs.groupby("task"):
        # runs without a number (the paper's) are numbered as they come
        numbers = rows["seed"].where(rows["seed"].notna(), rows.groupby("entry").cumcount())
        table = rows.assign(number=numbers).pivot_table("accuracy", ["replicate", "number"], "entry")
        result[str(task)] = table.dropna().mean(axis=1).to_numpy(dtype=np.float64)
    return {task: values for task, values in result.items() if len(values)}


def _welch_interval(values: np.ndarray, others: np.ndarray) -> tuple[float, float, float, float]:
    """Return the difference of two means, its interval over seeds by Welch, and the p-value; NaN and 1 for one seed."""
    difference = float(values.mean() - others.mean())
    if min(len(values), len(others)) < 2:
        return difference, math.nan, math.nan, 1.0
    _, df, p = welch(values, others)
    error = math.sqrt(np.var(values, ddof=1) / len(values) + np.var(others, ddof=1) / len(others))
    half = student_t_quantile(0.975, min(df, 1e9)) * error
    return difference, difference - half, difference + half, p
