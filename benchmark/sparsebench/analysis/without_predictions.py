"""Intervals where no predictions were kept: over seeds, with a bound for the test images beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .components import Component, Components
from .intervals import SEEDS, Interval
from .metrics import Sample, relative_error_increase_interval, student_t_quantile
from .statistics import Linearised


@dataclass(frozen=True)
class SeedsOnly:
    """A mean relative error increase from accuracies alone.

    Parameters
    ----------
    interval : Interval
        Over seeds; NaN bounds where some cell has a single one.
    images : float
        Half the width of an interval over test images if the two models erred independently; see :func:`image_bound`.
    tasks : tuple of str
        The tasks averaged over.
    """

    interval: Interval
    images: float
    tasks: tuple[str, ...]


def seeds_only(
    entry: Mapping[str, Sample], reference: Mapping[str, Sample], n_test: Mapping[str, int], confidence: float = 0.95
) -> SeedsOnly:
    """Return the mean relative error increase over common tasks, over seeds, and the bound for test images.

    Parameters
    ----------
    entry, reference : mapping of str to Sample
        Accuracies over seeds by task.
    n_test : mapping of str to int
        Test images of the tasks; where one is missing, the bound is NaN.
    confidence : float
        Of the interval and the bound.
    """
    got = relative_error_increase_interval(entry, reference, confidence=confidence)
    pairs = {task: (1.0 - entry[task].mean, 1.0 - reference[task].mean) for task in got.tasks}
    bound = image_bound(pairs, n_test, confidence) if all(task in n_test for task in pairs) else math.nan
    scope = () if math.isnan(got.low) else (SEEDS,)
    return SeedsOnly(Interval(got.value, got.low, got.high, scope), bound, got.tasks)


def seeds_components(errors: Sequence[Mapping[str, Sample]], references: Mapping[str, str]) -> Components:
    r"""Return the covariance of mean relative error increases over seeds, from accuracies alone.

    A cell's mean over n seeds of standard deviation s adds :math:`g g' s^2/n` with n - 1 degrees of freedom, where g
    are the derivatives of the statistics in the cell's error. Seeds of two cells are independent here.

    Parameters
    ----------
    errors : sequence of mapping of str to Sample
        By task: the accuracies over seeds of all entries and references. No reference is without error.
    references : mapping of str to str
        Entry to reference, in the order of the statistics.
    """
    p, tasks = len(references), len(errors)
    by_task, levels = np.empty((p, tasks)), []
    uncovered: set[tuple[str, str]] = set()
    for column, cells in enumerate(errors):
        slopes = {name: np.zeros(p) for name in dict.fromkeys([*references, *references.values()])}
        for row, (entry, reference) in enumerate(references.items()):
            e, r = 1.0 - cells[entry].mean, 1.0 - cells[reference].mean
            by_task[row, column] = e / r - 1.0
            slopes[entry][row] += 1.0 / (tasks * r)
            slopes[reference][row] -= e / (tasks * r**2)
        for name, slope in slopes.items():
            if cells[name].n < 2:
                uncovered.add((name, "seeds"))
            else:
                variance = cells[name].sd ** 2 / cells[name].n
                levels.append(Component("seeds", np.outer(slope, slope) * variance, cells[name].n - 1))
    statistic = Linearised(by_task.mean(axis=1), by_task, (), ())
    return Components(statistic, (), tuple(levels), (), frozenset(uncovered))


def image_bound(
    errors: Mapping[str, tuple[float, float]], n_test: Mapping[str, int], confidence: float = 0.95
) -> float:
    r"""Return half the width of the interval over test images that binomial variances give.

    With the errors :math:`e_t` and :math:`r_t` on :math:`n_t` images it is z times the root of

    .. math:: \frac{1}{T^2} \sum_t \frac{1}{n_t r_t^2} \Big[e_t (1-e_t) + \frac{e_t^2}{r_t^2} r_t (1-r_t)\Big].

    Without predictions the pairing by image isn't known. It can only make the interval narrower as long as images that
    are hard for one model are hard for the other, so this is a bound.

    Parameters
    ----------
    errors : mapping of str to (float, float)
        By task: the errors of the entry and of the reference.
    n_test : mapping of str to int
        Test images by task.
    confidence : float
        Of the bound.
    """
    if not errors:
        return math.nan
    terms = [(e * (1.0 - e) + (e / r) ** 2 * r * (1.0 - r)) / (n_test[task] * r**2) for task, (e, r) in errors.items()]
    return student_t_quantile(0.5 + confidence / 2.0, 1e9) * math.sqrt(math.fsum(terms)) / len(terms)
