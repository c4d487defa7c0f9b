"""Whether one model is better than another: overall and per task, with verdicts and what would decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .components import components
from .intervals import Interval, interval
from .pairs import balances, clustered_mcnemar, discordant, holm, mcnemar
from .panels import Panel
from .power import Needed, needed
from .statistics import accuracy_difference, relative_error_increase_between

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
        McNemar's exact test of the heads that there are, by source of images where a task declares clusters, and the
        same adjusted over tasks (Holm).
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
    """Two models, or the means of two sets of them, over tasks.

    Parameters
    ----------
    first, second : tuple of str
        The models on both sides.
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

    first: tuple[str, ...]
    second: tuple[str, ...]
    overall: Interval
    verdict: Verdict
    needed: Needed
    tasks: tuple[TaskComparison, ...]
    perfect: tuple[str, ...]


def compare_models(
    panels: Sequence[Panel],
    first: str | Sequence[str],
    second: str | Sequence[str],
    *,
    random_tasks: bool = False,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two models, or the means of two sets of models, on the tasks that all of them have.

    Parameters
    ----------
    panels : sequence of Panel
        The tasks; those that lack one of the models are passed over.
    first, second : str or sequence of str
        The models. Of several the errors are averaged; as they are all there are, intervals don't cover their choice.
    random_tasks : bool
        Whether the overall interval is to cover the choice of tasks.
    confidence : float
        Of the intervals; a verdict on a task is made at the same level.

    Raises
    ------
    ValueError
        If they have no task in common, or the second makes no error on any.
    """
    one, other = _several(first), _several(second)
    common = [panel for panel in panels if all(name in panel.models for name in (*one, *other))]
    if not common:
        raise ValueError(f"{', '.join(one)} and {', '.join(other)} have no task in common")
    statistic = relative_error_increase_between(common, one, other)
    parts = components(statistic, random_tasks)
    overall = interval(parts, None, confidence)
    return Comparison(
        one,
        other,
        overall,
        _verdict(overall),
        needed(parts, np.ones(1), confidence=confidence),
        _by_task(common, one, other, confidence),
        statistic.perfect,
    )


def _several(models: str | Sequence[str]) -> tuple[str, ...]:
    return (models,) if isinstance(models, str) else tuple(models)


def _by_task(
    panels: list[Panel], first: tuple[str, ...], second: tuple[str, ...], confidence: float
) -> tuple[TaskComparison, ...]:
    differences = [
        interval(components(accuracy_difference(panel, first, second)), None, confidence) for panel in panels
    ]
    counts = [discordant(_outcomes(panel, first), _outcomes(panel, second)) for panel in panels]
    exact = [
        mcnemar(*pair)
        if panel.clusters is None
        else clustered_mcnemar(balances(_outcomes(panel, first), _outcomes(panel, second)), panel.clusters)
        for panel, pair in zip(panels, counts, strict=True)
    ]
    own = [difference.p_value for difference in differences]
    rows = zip(panels, differences, counts, exact, holm(exact), own, holm(own), strict=True)
    return tuple(
        TaskComparison(
            panel.task, difference, first_alone, second_alone, p_exact, p_holm, p, p_adjusted,
            task_verdict(difference.value, max(p_holm, p_adjusted), 1.0 - confidence),
        )
        for panel, difference, (first_alone, second_alone), p_exact, p_holm, p, p_adjusted in rows
    )  # fmt: skip


def _outcomes(panel: Panel, models: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    return np.concatenate([panel.models[name].values for name in models])


def task_verdict(difference: float, p: float, level: float = 0.05) -> Verdict:
    """Return the verdict on a difference of accuracies, given its adjusted p-value."""
    if p > level + 1e-12 or difference == 0:
        return "undecided"
    return "better" if difference > 0 else "worse"


def _verdict(overall: Interval) -> Verdict:
    """Return the verdict that an interval of a relative error increase gives."""
    return "better" if overall.high < 0 else "worse" if overall.low > 0 else "undecided"
