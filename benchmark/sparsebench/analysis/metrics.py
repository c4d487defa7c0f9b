"""Statistics of predictions and of runs: accuracies, spread over seeds, relative error increase.

Accuracies are fractions. NumPy only (SciPy for one quantile), so that reports need no torch. Sums over runs are exactly
rounded (:func:`math.fsum`), so a statistic doesn't depend on the order of its runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


def top1(predicted: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the fraction of samples whose predicted class is their label.

    Parameters
    ----------
    predicted : array_like, shape (n,) or (n, classes)
        Class indices, or logits (or probabilities), of which the first largest counts.
    labels : array_like of int, shape (n,)
        True class indices.

    Raises
    ------
    ValueError
        If the shapes differ, there is no sample, or a logit is NaN.
    """
    guess, truth = _pair(predicted, labels)
    return float(np.mean(guess == truth))


def mean_per_class(predicted: npt.ArrayLike, labels: npt.ArrayLike, num_classes: int) -> float:
    """Return the mean of the classes' recalls, over the classes that the labels contain.

    Parameters
    ----------
    predicted : array_like, shape (n,) or (n, classes)
        Class indices, or logits.
    labels : array_like of int, shape (n,)
        True class indices, in ``[0, num_classes)``.
    num_classes : int
        Classes of the task; those without a sample don't count.

    Raises
    ------
    ValueError
        If the shapes differ, there is no sample, a logit is NaN, or a label is out of range.
    """
    guess, truth = _pair(predicted, labels)
    if truth.min() < 0 or truth.max() >= num_classes:
        raise ValueError(f"labels must lie in [0, {num_classes}), these span {truth.min()} to {truth.max()}")
    total = np.bincount(truth, minlength=num_classes)
    right = np.bincount(truth[guess == truth], minlength=num_classes)
    present = total > 0
    return float(np.mean(right[present] / total[present]))


def mean(values: Iterable[float]) -> float:
    """Return the arithmetic mean, exactly summed; NaN of nothing."""
    numbers = [float(v) for v in values]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def sd(values: Iterable[float]) -> float:
    """Return the sample standard deviation (``ddof=1``); NaN of fewer than two values."""
    numbers = [float(v) for v in values]
    if len(numbers) < 2:
        return math.nan
    if min(numbers) == max(numbers):
        return 0.0
    centre = mean(numbers)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in numbers) / (len(numbers) - 1))


@dataclass(frozen=True)
class Sample:
    """The runs of one cell (checkpoint, task, mode) over seeds: mean and sd (``ddof=1``) of the accuracy, and count."""

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Sample:
        """Summarise the accuracies of a cell's runs."""
        numbers = [float(v) for v in values]
        return cls(mean(numbers), sd(numbers), len(numbers))


@dataclass(frozen=True)
class RelativeError:
    """Mean relative error increase over tasks; negative is better than the reference.

    ``low`` and ``high`` bound the confidence interval and are NaN where it can't be had; ``tasks`` were averaged over;
    ``perfect`` are the tasks left out because the reference makes no error there.
    """

    value: float
    low: float
    high: float
    degrees: float
    tasks: tuple[str, ...]
    perfect: tuple[str, ...] = ()


def relative_error_increase(accuracy: float, reference: float) -> float:
    """Return ``(e - r) / r`` for the errors ``e = 1 - accuracy`` and ``r = 1 - reference``.

    NaN where the reference makes no error: no increase is relative to nothing.
    """
    error, base = 1.0 - accuracy, 1.0 - reference
    return (error - base) / base if base > 0 else math.nan


def relative_error_increase_interval(
    entry: Mapping[str, Sample], reference: Mapping[str, Sample], *, confidence: float = 0.95
) -> RelativeError:
    r"""Return the mean relative error increase over the tasks that both have, with its confidence interval.

    With the mean errors :math:`e_t` and :math:`r_t` of entry and reference over :math:`n_e` and :math:`n_r` seeds, the
    estimate is :math:`\frac1T\sum_t (e_t/r_t - 1)`. By the delta method its variance is
    :math:`\frac1{T^2}\sum_t [s_e^2/(n_e r_t^2) + e_t^2 s_r^2/(n_r r_t^4)]`; the degrees of freedom are Welch and
    Satterthwaite's, the quantile is Student's. It covers seeds only, which change head and order: neither the choice of
    tasks nor the upstream model.

    Parameters
    ----------
    entry, reference : mapping of str to Sample
        Accuracies by task.
    confidence : float
        Coverage of the interval.

    Returns
    -------
    RelativeError
        A task where the reference makes no error (:math:`r_t = 0`) is left out and named in ``perfect``. The interval
        is NaN where any used cell has fewer than two seeds, and has no width where no cell varies over seeds.
    """
    common = sorted(t for t in entry.keys() & reference.keys() if entry[t].n and reference[t].n)
    perfect = tuple(t for t in common if reference[t].mean >= 1.0)
    tasks = tuple(t for t in common if t not in perfect)
    if not tasks:
        return RelativeError(math.nan, math.nan, math.nan, math.nan, (), perfect)
    value = mean(relative_error_increase(entry[t].mean, reference[t].mean) for t in tasks)
    terms = [term for t in tasks for term in _variance_terms(entry[t], reference[t])]
    if any(degrees < 1 for _, degrees in terms):
        return RelativeError(value, math.nan, math.nan, math.nan, tasks, perfect)
    total = math.fsum(v for v, _ in terms)
    if total == 0.0:
        return RelativeError(value, value, value, math.inf, tasks, perfect)
    # Welch-Satterthwaite with shares of the total, so that tiny variances don't underflow when squared
    degrees = 1.0 / math.fsum((v / total) ** 2 / d for v, d in terms)
    half = student_t_quantile(0.5 + confidence / 2.0, degrees) * math.sqrt(total) / len(tasks)
    return RelativeError(value, value - half, value + half, degrees, tasks, perfect)


def student_t_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t distribution with (fractional) ``degrees`` of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _variance_terms(entry: Sample, reference: Sample) -> tuple[tuple[float, int], tuple[float, int]]:
    """Return the two delta-method terms of one task's ``e / r``, each with its degrees of freedom."""
    error, base = 1.0 - entry.mean, 1.0 - reference.mean
    own = entry.sd**2 / (entry.n * base**2)
    theirs = error**2 * reference.sd**2 / (reference.n * base**4)
    return (own, entry.n - 1), (theirs, reference.n - 1)


def _pair(predicted: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return predicted and true class indices, of equal length and at least one."""
    guess, truth = np.asarray(predicted), np.asarray(labels)
    if truth.ndim != 1 or guess.ndim not in (1, 2) or len(guess) != len(truth):
        raise ValueError(f"predictions of shape {guess.shape} don't fit labels of shape {truth.shape}")
    if len(truth) == 0:
        raise ValueError("there is no sample to score")
    if guess.ndim == 2:
        if np.isnan(guess).any():
            raise ValueError("the logits hold NaN")
        guess = guess.argmax(axis=1)
    return guess.astype(np.int64), truth.astype(np.int64)


def in_top(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.bool_]:
    """Return for each row of logits (n, C) whether fewer than ``count`` other classes rank before its label.

    Of equal logits the class with the smaller number ranks first, as in ``argmax``.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    first = np.arange(logits.shape[1])[None, :] < labels[:, None]
    return ((logits > own) | ((logits == own) & first)).sum(axis=1) < count
