"""Tests between two things: McNemar, Welch, and Holm's correction for several of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .panels import Array


def balances(wrong: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return for each image 1 where the first model got it right in more of its runs, -1 where the other did, else 0.

    Parameters
    ----------
    wrong, other : ndarray of bool, shape (runs, n)
        What each got wrong. Fractions of runs are compared.
    """
    # as integers, so that thirds are thirds
    return np.sign(other.sum(axis=0, dtype=np.int64) * len(wrong) - wrong.sum(axis=0, dtype=np.int64) * len(other))


def discordant(wrong: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many images the first model alone got right, and how many the other alone.

    Parameters
    ----------
    wrong, other : ndarray of bool, shape (runs, n)
        What each got wrong. Where there are several runs, an image counts for the model that got it right in the larger
        fraction of its runs, and for neither where the fractions are equal.
    """
    balance = balances(wrong, other)
    return int((balance > 0).sum()), int((balance < 0).sum())


def mcnemar(first: int, second: int) -> float:
    r"""Return the two-sided p-value of McNemar's exact test.

    Of the images that just one of two classifiers gets right, each is the first's with probability 1/2 if both are
    equally accurate: :math:`p = \min(1, 2 P[\mathrm{Bin}(n_{10}+n_{01}, 1/2) \le \min(n_{10}, n_{01})])`.

    Parameters
    ----------
    first, second : int
        Images that the first, or the second, alone got right: see :func:`discordant`.
    """
    from scipy.special import bdtr

    return min(1.0, 2.0 * float(bdtr(min(first, second), first + second, 0.5)))


def clustered_mcnemar(balance: npt.NDArray[np.int64], clusters: npt.NDArray[np.int64]) -> float:
    r"""Return the two-sided p-value of McNemar's test where images of one source aren't independent.

    With :math:`d_g` the images of source g that the first model alone gets right, minus those of the other, a source is
    as likely to favour either if both models are equally good: the signs of the :math:`d_g` are fair coins (Fisher's
    randomisation test, The Design of Experiments, 1935). The exact distribution of :math:`|\sum_g \pm d_g|` is found by
    convolution. Where each image is its own source this is McNemar's exact test, see :func:`mcnemar`.

    Parameters
    ----------
    balance : ndarray of int, shape (n,)
        By image: 1 where the first model alone is right, -1 where the other is, else 0; see :func:`balances`.
    clusters : ndarray of int, shape (n,)
        The source of each image.
    """
    from scipy.stats import binom

    numbers = np.unique(clusters, return_inverse=True)[1]
    sums = np.abs(np.bincount(numbers, weights=balance).astype(np.int64))
    most, seen = int(sums.sum()), abs(int(balance.sum()))
    chance = np.zeros(2 * most + 1)  # of each sum from -most to most
    chance[most] = 1.0
    for size, count in zip(*np.unique(sums[sums > 0], return_counts=True), strict=True):
        steps = binom.pmf(np.arange(count + 1), count, 0.5)
        kernel = np.zeros(2 * size * count + 1)
        kernel[:: 2 * size] = steps
        chance = np.convolve(chance, kernel)[size * count : size * count + len(chance)]
    return min(1.0, float(chance[np.abs(np.arange(-most, most + 1)) >= seen].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Return p-values adjusted for their number by Holm (1979), in the same order.

    Sorted ascending, the i-th of m is :math:`\max_{j \le i} \min(1, (m - j + 1) p_j)`. Rejecting those of at most 0.05
    makes a false rejection among them no more probable than 0.05, however the tests depend on one another.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, (len(p) - np.arange(len(p))) * p[order]))
    return [float(v) for v in adjusted]


def welch(values: Array, others: Array) -> tuple[float, float, float]:
    r"""Return Welch's (1947) t statistic for a difference of means, its degrees of freedom, and the two-sided p-value.

    :math:`t = (\bar x - \bar y)/\sqrt{s_x^2/n_x + s_y^2/n_y}` with Satterthwaite's degrees of freedom.

    Parameters
    ----------
    values, others : ndarray, shape (n,) and (m,)
        Two independent samples of at least two values each. Where neither varies, p is 1 if their means are equal, else
        0.
    """
    from scipy.special import stdtr

    if min(len(values), len(others)) < 2:
        raise ValueError(f"samples of {len(values)} and {len(others)} values: each needs two")
    terms = np.array([np.var(v, ddof=1) / len(v) for v in (values, others)])
    counts = np.array([len(values), len(others)])
    difference, total = float(np.mean(values) - np.mean(others)), float(terms.sum())
    if total == 0.0:
        return (0.0, np.inf, 1.0) if difference == 0.0 else (float(np.copysign(np.inf, difference)), np.inf, 0.0)
    t = difference / total**0.5
    df = 1.0 / float(((terms / total) ** 2 / (counts - 1)).sum())
    return t, df, float(2.0 * stdtr(df, -abs(t)))
