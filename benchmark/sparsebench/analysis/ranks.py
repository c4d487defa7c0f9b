"""Ranks as simultaneous confidence intervals, win rates, and critical differences of mean ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .components import Components
from .intervals import has_spread, variance_parts
from .panels import Array


@dataclass(frozen=True, eq=False)
class RankIntervals:
    """Ranks of p entries, 1 being the lowest value.

    Parameters
    ----------
    low, high : ndarray of int, shape (p,)
        With the confidence asked for every entry's true rank lies between them, all at once.
    below : ndarray of bool, shape (p, p)
        Whether the row's entry is shown to be lower than the column's.
    level : float
        What each pair was tested at, two-sided, so that the whole holds.
    """

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    below: npt.NDArray[np.bool_]
    level: float


def rank_intervals(parts: Components, *, confidence: float = 0.95, draws: int = 20_000, seed: int = 0) -> RankIntervals:
    r"""Return simultaneous confidence intervals of the ranks of statistics.

    Mogstad, Romano, Shaikh and Wilhelm (2024): from simultaneous intervals of all pairwise differences an entry's rank
    lies between 1 plus the number of entries shown to be lower, and p minus the number shown to be higher. The critical
    value is the quantile of the largest :math:`|t_{jk}|`, from a Gaussian multiplier bootstrap with a fixed seed
    (:func:`covariance`). As seeds are few, its normal tail probability is what each pair is tested at, with the
    interval of that pair (:func:`.intervals.interval`). Replicates, and tasks where they are random, are too few to
    know how pairs' statistics go together: with them each pair is tested at Bonferroni's level.

    Parameters
    ----------
    parts : Components
        Covariance components of p statistics.
    confidence : float
        Probability that all ranks lie in their intervals.
    draws : int
        Of the bootstrap.
    seed : int
        Of the bootstrap.
    """
    p = len(parts.statistics.values)
    if p < 2:
        one = np.ones(p, dtype=np.int64)
        return RankIntervals(one, one.copy(), np.zeros((p, p), dtype=bool), 1.0 - confidence)
    found = pair_variances(parts) if has_spread(parts) else []
    few = parts.tasks is not None or any(part.factor == "replicates" for part in parts.levels)
    strictest = (1.0 - confidence) / (p * (p - 1) / 2)
    level = strictest if few else max(_level(covariance(parts), confidence, draws, seed), strictest)
    below = _differences(parts.statistics.values) < -_half_widths(found, level)
    return RankIntervals(1 + below.sum(axis=0), p - below.sum(axis=1), below, level)


def pair_variances(parts: Components) -> list[tuple[Array, Array]]:
    """Return the independent parts of the variance of each pair's difference, with degrees of freedom, shape (p, p).

    These are the parts of :func:`.intervals.interval`. Sums over images of a pair's squares and fourth powers are taken
    apart into products of matrices, so that no pair's residuals are formed.
    """
    fourth, added = np.zeros_like(parts.images), np.zeros_like(parts.images)
    for panel, gradients, residuals in zip(
        parts.statistics.panels, parts.statistics.gradients, parts.residuals, strict=True
    ):
        squares = residuals**2
        own, mixed = np.sum(squares**2, axis=1), (squares * residuals) @ residuals.T
        fourth += own[:, None] + own - 4.0 * (mixed + mixed.T) + 6.0 * (squares @ squares.T)
        largest = np.zeros_like(added)
        for gradient in gradients.values():
            np.maximum(largest, np.abs(_differences(gradient)), out=largest)
        added += largest**2 * panel.design.one_unit
    images, diagonal = _of_differences(parts.images), np.diag(parts.images)
    equal = images < 1e-12 * (diagonal[:, None] + diagonal)  # what rounding leaves of pairs without a difference
    images[equal] = fourth[equal] = 0.0
    return variance_parts(parts, _of_differences, images, fourth, added)[1]


def _differences(values: Array) -> Array:
    """Return each value minus each, shape (p,) to (p, p)."""
    return np.asarray(values[:, None] - values)


def _of_differences(matrix: Array) -> Array:
    """Return the variance of each pair's difference, given a covariance matrix, shape (p, p)."""
    diagonal = np.diag(matrix)
    return np.asarray(diagonal[:, None] + diagonal - matrix - matrix.T)


def _half_widths(parts: list[tuple[Array, Array]], level: float) -> Array:
    """Return what :func:`.intervals.half_width` does, for many intervals at once; infinity without any variance."""
    from scipy.special import stdtrit

    squares = sum(np.where(v > 0, v * stdtrit(np.minimum(df, 1e9), level / 2.0) ** 2, 0.0) for v, df in parts)
    return np.where(np.asarray(squares) > 0, np.sqrt(squares), np.inf)


def covariance(parts: Components) -> Array:
    """Return the covariance matrix of the statistics from which the largest of all pairs' statistics is drawn.

    Over test images it is the estimated one, made positive semi-definite. Seeds are few: a covariance matrix that is
    estimated from S of them has rank S - 1 per task, and entries would seem to vary together that don't. So what seeds
    add counts as each entry's own, with the mean variance over pairs.
    """
    p = len(parts.statistics.values)
    images = parts.images - sum(part.matrix for part in parts.both)
    values, vectors = np.linalg.eigh((images + images.T) / 2.0)
    seeds = np.asarray(sum((part.matrix for part in parts.levels), np.zeros((p, p))))
    own = _of_differences(seeds).sum() / (p * (p - 1)) / 2.0
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T + own * np.eye(p))


def _level(sigma: Array, confidence: float, draws: int, seed: int) -> float:
    """Return the two-sided level of a single pair: the tail of the largest of all pairs' normal statistics."""
    from scipy.special import ndtr

    p = len(sigma)
    values, vectors = np.linalg.eigh(sigma)
    normal = np.random.default_rng(seed).standard_normal((draws, p))
    drawn = np.ascontiguousarray((normal @ (vectors * np.sqrt(np.maximum(values, 0.0))).T).T)
    sd = np.sqrt(np.maximum(_of_differences(sigma), 0.0))
    least = 1e-12 * np.sqrt(sigma.max(initial=0.0))
    largest = np.zeros(draws)
    for j in range(p):
        for k in range(j + 1, p):
            if sd[j, k] > least:
                np.maximum(largest, np.abs(drawn[j] - drawn[k]) / sd[j, k], out=largest)
    critical = float(np.quantile(largest, confidence, method="higher"))
    return min(2.0 * float(ndtr(-critical)), 1.0 - confidence)  # never laxer than one test


def win_rates(by_task: Array) -> Array:
    """Return the fraction of tasks on which the row's entry has the lower value; equal values count half.

    Parameters
    ----------
    by_task : ndarray, shape (p, tasks)
        Errors, or relative error increases.

    Returns
    -------
    ndarray, shape (p, p)
        NaN on the diagonal.
    """
    rounded = np.round(by_task, 9)
    lower = (rounded[:, None] < rounded[None]) + 0.5 * (rounded[:, None] == rounded[None])
    rates = lower.mean(axis=2)
    np.fill_diagonal(rates, np.nan)
    return np.asarray(rates)


def mean_ranks(by_task: Array) -> Array:
    """Return the mean over tasks of each entry's rank, lowest first, equal values sharing their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(np.round(by_task, 9), axis=0).mean(axis=1))


def critical_difference(entries: int, tasks: int, confidence: float = 0.95) -> float:
    r"""Return how far mean ranks must lie apart to differ (Nemenyi; Demsar 2006).

    :math:`q \sqrt{k(k+1)/(6N)}` for k entries on N tasks, q being the quantile of the studentized range of k means with
    infinite degrees of freedom, over :math:`\sqrt 2`. Tasks are the sample here: images and seeds don't enter.
    """
    from scipy.stats import studentized_range

    if entries < 2 or tasks < 1:
        raise ValueError(f"{entries} entries on {tasks} tasks have no critical difference")
    q = float(studentized_range.ppf(confidence, entries, np.inf)) / 2.0**0.5
    return q * (entries * (entries + 1) / (6.0 * tasks)) ** 0.5


def friedman(by_task: Array) -> tuple[float, float]:
    """Return Friedman's chi-squared, corrected for ties, and its p-value: whether mean ranks differ at all."""
    from scipy.stats import friedmanchisquare

    if len(by_task) < 3:
        raise ValueError(f"Friedman's test needs three entries, not {len(by_task)}")
    result = friedmanchisquare(*np.round(by_task, 9))
    return float(result.statistic), float(result.pvalue)


def ranks_of(values: Sequence[float]) -> npt.NDArray[np.int64]:
    """Return the rank of each value, 1 being the lowest; equal values share the lowest rank."""
    rounded = np.round(np.asarray(values, dtype=np.float64), 9)
    return np.asarray(1 + (rounded[None] < rounded[:, None]).sum(axis=1))
