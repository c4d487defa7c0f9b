"""Intervals where no predictions were kept: over seeds, with a bound for the test images beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .intervals import SEEDS, Interval
from .metrics import Sample, relative_error_increase_interval, student_t_quantile


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
