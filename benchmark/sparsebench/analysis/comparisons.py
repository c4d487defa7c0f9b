"""Whether one model is better than another: overall and per task, with verdicts and what would decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .components import components
from .intervals import Interval, interval
from .pairs import discordant, holm, mcnemar
from .panels import Panel
from .power import Needed, needed
from .statistics import accuracy_difference, relative_error_increases

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class TaskComparison:
    """Two models on one task.

    Parameters
    ----------
    task : str
        The task.
    difference : Interval
        Accuracy of the first model minus that of the second, with the interval for this task alone.
    only_first, only_second : int
        Test images that one of them alone gets right.
    mcnemar_p, holm_p : float
        McNemar's exact test of the heads that there are, and the same adjusted over tasks (Holm).
    p, adjusted_p : float
        The test that the interval makes, over seeds and test images, and the same adjusted over tasks.
    verdict : {"better", "worse", "undecided"}
        On the first model: decided where both adjusted p-values are at most 5 %. So the probability of any false
        verdict among the tasks is at most 5 %, also over seeds.
    """

    task: str
    difference: Interval
    only_first: int
    only_second: int
    mcnemar_p: float
    holm_p: float
    p: float
    adjusted_p: float
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """Two models over tasks.

    Parameters
    ----------
    first, second : str
        The models.
    overall : Interval
        The mean relative error increase of the first over the second; negative where the first is better.
    verdict : {"better", "worse", "undecided"}
        On the first model: decided where the interval excludes 0.
    needed : Needed
        What would decide with a power of 80 %, if the value seen is the true one.
    tasks : tuple of TaskComparison
        By task.
    perfect : tuple of str
        Tasks left out of the mean because the second model makes no error on them.
    """

    first: str
    second: str
    overall: Interval
    verdict: Verdict
    needed: Needed
    tasks: tuple[TaskComparison, ...]
    perfect: tuple[str, ...]


def compare_models(
    panels: Sequence[Panel], first: str, second: str, *, random_tasks: bool = False, confidence: float = 0.95
) -> Comparison:
    """Compare two models on the tasks that both have.

    Parameters
    ----------
    panels : sequence of Panel
        The tasks; those that lack one of the models are passed over.
    first, second : str
        The models.
    random_tasks : bool
        Whether the overall interval is to cover the choice of tasks.
    confidence : float
        Of the intervals; a verdict on a task is made at the same level.

    Raises
    ------
    ValueError
        If they have no task in common, or the second model makes no error on any.
    """
    common = [panel for panel in panels if first in panel.models and second in panel.models]
    if not common:
        raise ValueError(f"{first} and {second} have no task in common")
    statistic = relative_error_increases(common, {first: second})
    parts = components(statistic, random_tasks)
    overall = interval(parts, None, confidence)
    return Comparison(
        first,
        second,
        overall,
        _verdict(overall, lower_is_better=True),
        needed(parts, np.ones(1), confidence=confidence),
        _by_task(common, first, second, confidence),
        statistic.perfect,
    )


def _by_task(panels: list[Panel], first: str, second: str, confidence: float) -> tuple[TaskComparison, ...]:
    differences = [
        interval(components(accuracy_difference(panel, first, second)), None, confidence) for panel in panels
    ]
    counts = [discordant(panel.models[first].values, panel.models[second].values) for panel in panels]
    exact, own = [mcnemar(*pair) for pair in counts], [difference.p_value for difference in differences]
    rows = zip(panels, differences, counts, exact, holm(exact), own, holm(own), strict=True)
    level = 1.0 - confidence
    return tuple(
        TaskComparison(
            panel.task, difference, *pair, p_exact, p_holm, p, p_adjusted,
            _sign(difference.value) if max(p_holm, p_adjusted) <= level + 1e-12 else "undecided",
        )
        for panel, difference, pair, p_exact, p_holm, p, p_adjusted in rows
    )  # fmt: skip


def _sign(value: float) -> Verdict:
    return "better" if value > 0 else "worse" if value < 0 else "undecided"


def _verdict(result: Interval, lower_is_better: bool) -> Verdict:
    if result.high < 0:
        return "better" if lower_is_better else "worse"
    if result.low > 0:
        return "worse" if lower_is_better else "better"
    return "undecided"
