"""Whether intervals, verdicts and ranks keep their promises: counts over many synthetic data sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from .comparisons import compare_models
from .components import components
from .panels import Array
from .pigeonhole import bootstrap, percentile_interval
from .ranks import rank_intervals
from .simulation import Drawn, Shape, draw
from .statistics import relative_error_increases


@dataclass(frozen=True)
class Counts:
    """What happened in some synthetic data sets of one shape.

    Parameters
    ----------
    sets : int
        Data sets.
    covered : int
        Intervals of the relative error increase of model 1 that contain the truth.
    task_intervals, task_covered : int
        Intervals of the difference on single tasks, and those that contain the truth.
    false_tasks : int
        Data sets in which some task has a verdict that isn't true.
    false_overall : int
        Data sets whose overall verdict isn't true.
    decided : int
        Data sets whose overall verdict is true.
    rank_sets, false_ranks : int
        Data sets with entries to rank, and those in which some entry is shown to be lower than one that it isn't lower
        than.
    width : float
        Sum of the intervals' widths.
    """

    sets: int = 0
    covered: int = 0
    task_intervals: int = 0
    task_covered: int = 0
    false_tasks: int = 0
    false_overall: int = 0
    decided: int = 0
    rank_sets: int = 0
    false_ranks: int = 0
    width: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def check_closed_forms(shape: Shape, sets: int, seed: int) -> Counts:
    """Return the counts of intervals, verdicts and ranks in closed form."""
    rng, total = np.random.default_rng(seed), Counts()
    for _ in range(sets):
        total += _of_one(draw(shape, rng))
    return total


def check_bootstrap(shape: Shape, sets: int, seed: int, draws: int = 500) -> Counts:
    """Return how often the pigeonhole bootstrap's percentile interval contains the truth."""
    rng, total = np.random.default_rng(seed), Counts()
    for number in range(sets):
        drawn = draw(shape, rng)
        values = bootstrap(drawn.panels, {"1": "0"}, draws=draws, seed=number)[0]
        got = percentile_interval(values, float("nan"), ())
        covered = bool(got.low <= drawn.relative[1] <= got.high)
        total += Counts(sets=1, covered=covered, width=got.high - got.low)
    return total


def _of_one(drawn: Drawn) -> Counts:
    truth = drawn.relative
    comparison = compare_models(drawn.panels, "1", "0")
    overall, sign = comparison.overall, _sign(truth[1])
    tasks = [
        (task, float(drawn.truth[0, place] - drawn.truth[1, place])) for place, task in enumerate(comparison.tasks)
    ]
    verdicts = {"better": -1.0, "worse": 1.0, "undecided": None}
    said = verdicts[comparison.verdict]
    return Counts(
        sets=1,
        covered=bool(overall.low <= truth[1] <= overall.high),
        task_intervals=len(tasks),
        task_covered=sum(task.difference.low <= value <= task.difference.high for task, value in tasks),
        false_tasks=any(verdicts[task.verdict] not in (None, _sign(-value)) for task, value in tasks),
        false_overall=said not in (None, sign),
        decided=said is not None and said == sign,
        rank_sets=len(truth) > 2,
        false_ranks=len(truth) > 2 and _false_ranks(drawn, truth),
        width=overall.high - overall.low,
    )


def _false_ranks(drawn: Drawn, truth: Array) -> bool:
    """Return whether a rank interval of the entries (all models but the reference) excludes a true rank."""
    entries = range(1, len(truth))
    parts = components(relative_error_increases(drawn.panels, {str(m): "0" for m in entries}))
    below = rank_intervals(parts, draws=2000).below
    lower = truth[1:, None] < truth[None, 1:] - 1e-12
    return bool((below & ~lower).any())


def _sign(value: float) -> float:
    return float(np.sign(np.round(value, 12)))


def shapes() -> Iterator[Shape]:
    """Yield the shapes that closed forms are checked on: nulls first, then every factor varied."""
    yield from null_shapes()
    base = Shape(gaps=(0.0, 0.15, 0.15, 0.3))
    for images in (100, 250, 500, 1000, 5000):
        for tasks in (3, 6, 12):
            yield replace(base, images=images, tasks=tasks)
    for seeds in (1, 2, 3, 5):
        for replicates in (1, 2, 3):
            if (seeds, replicates) != (3, 1):
                yield replace(base, seeds=seeds, replicates=replicates)
            yield replace(base, seeds=seeds, replicates=replicates, images=2000, tasks=3, seed_sd=0.1, replicate_sd=0.1)
    for classes in (5, 10, 50):
        for images in (250, 1000):
            yield replace(base, classes=classes, images=images)
    for error in (0.05, 0.1, 0.4, 0.6):
        for images in (100, 1000):
            yield replace(base, error=error, images=images)
    for gap in (0.05, 0.5, -0.3):
        yield replace(base, gaps=(0.0, gap, gap, gap))
    for seeds, replicates in ((1, 1), (3, 1), (3, 3)):  # several images of one source
        yield replace(base, seeds=seeds, replicates=replicates, cluster=8)
    yield replace(base, cluster=8, images=5000)
    yield replace(base, cluster=8, images=1000, classes=10)
    yield replace(base, seeds=2, paired=False)


def null_shapes() -> Iterator[Shape]:
    """Yield the shapes in which nothing differs in truth: whatever is decided there is false."""
    base = Shape()
    for seeds, replicates in ((1, 1), (2, 1), (3, 1), (5, 1), (2, 2), (3, 3)):
        for images in (100, 1000):
            yield replace(_nothing(base, seeds, replicates), images=images)
    for seeds, replicates in ((1, 1), (3, 1), (3, 3)):
        yield replace(_nothing(base, seeds, replicates), images=1000, cluster=8)
    for replicates in (2, 3):
        yield _nothing(base, 1, replicates)
    for tasks in (3, 12):
        yield replace(_nothing(base, 3, 1), tasks=tasks)
    yield replace(_nothing(base, 1, 1), images=100, error=0.05)
    yield replace(_nothing(base, 3, 1), images=5000)
    yield replace(_nothing(base, 3, 1), classes=10)
    yield replace(_nothing(base, 1, 1), classes=50)
    yield replace(_nothing(base, 2, 1), images=2000, tasks=3, seed_sd=0.15)
    yield replace(_nothing(base, 2, 2), images=2000, tasks=3, replicate_sd=0.15)
    yield replace(_nothing(base, 2, 1), paired=False)


def _nothing(base: Shape, seeds: int, replicates: int) -> Shape:
    """Return a shape in which nothing differs in truth, and what has a single level doesn't vary."""
    return replace(
        base,
        seeds=seeds,
        replicates=replicates,
        gaps=(0.0,) * 6,
        seed_sd=0.05 if seeds > 1 else 0.0,
        replicate_sd=0.05 if replicates > 1 else 0.0,
    )


def bootstrap_shapes() -> Iterator[Shape]:
    """Yield the twelve shapes that the bootstrap is checked on."""
    base = Shape(gaps=(0.0, 0.15))
    for images, cluster in ((100, 1), (500, 1), (2000, 1), (1000, 8)):
        for seeds, replicates in ((1, 1), (3, 1), (3, 3)):
            yield replace(base, images=images, seeds=seeds, replicates=replicates, tasks=4, cluster=cluster)
