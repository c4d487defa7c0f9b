"""Confidence intervals that say what they cover."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .components import Components, components
from .metrics import student_t_quantile
from .panels import Array, Panel
from .statistics import accuracy_difference, relative_error_increases

IMAGES, SEEDS, REPLICATES, TASKS = "test images", "seeds", "upstream replicates", "tasks"


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Parameters
    ----------
    value, low, high : float
        The estimate and the bounds; NaN where they can't be had.
    scope : tuple of str
        What would be drawn anew if everything were done again: what the interval covers.
    parts : tuple of (variance, degrees of freedom)
        Independent estimates whose sum is the variance.
    variances : tuple of (factor, variance)
        What test images, seeds, replicates or tasks contribute. Images and seeds (or replicates) both contain what they
        share, so the sum exceeds the variance.
    """

    value: float
    low: float
    high: float
    scope: tuple[str, ...]
    parts: tuple[tuple[float, float], ...] = ()
    variances: tuple[tuple[str, float], ...] = ()

    @property
    def covers(self) -> str:
        """The scope in words, for example ``seeds and test images``."""
        *first, last = self.scope or ("nothing",)
        return f"{', '.join(first)} and {last}" if first else last

    @property
    def variance(self) -> float:
        """The variance of the estimate."""
        return math.fsum(v for v, _ in self.parts) if self.parts else math.nan

    def excludes_zero(self, level: float) -> bool:
        """Return whether the interval of one minus this level excludes 0."""
        return bool(self.parts) and abs(self.value) > half_width(self.parts, level)

    @property
    def p_value(self) -> float:
        """The two-sided p-value of "it is 0": one minus the confidence at which the interval ends at 0."""
        return p_value(self.value, self.parts)


def half_width(parts: Sequence[tuple[float, float]], level: float) -> float:
    r"""Return half the width of an interval from independent estimates of the parts of its variance.

    That is :math:`\sqrt{\sum_i t_i^2 V_i}` with Student's quantile :math:`t_i` of each part's own degrees of freedom.
    Banerjee (1960, Sankhya 22) proved that the coverage is at least nominal. Satterthwaite's approximation, with one
    quantile for the sum, falls short of it where a part that dominates has one or two degrees of freedom.

    Parameters
    ----------
    parts : sequence of (variance, degrees of freedom)
        The parts.
    level : float
        One minus the confidence.
    """
    quantiles = (student_t_quantile(level / 2.0, min(df, _MANY)) for _, df in parts)
    return math.hypot(*(t * v**0.5 for t, (v, _) in zip(quantiles, parts, strict=True)))


def p_value(value: float, parts: Sequence[tuple[float, float]]) -> float:
    """Return the level at which :func:`half_width` is as large as an estimate; 1 without any part."""
    from scipy.optimize import brentq
    from scipy.special import stdtr

    used = [(v, df) for v, df in parts if v > 0]
    if not used or not math.isfinite(value):
        return 1.0
    # no part's quantile can be larger than that of the fewest degrees of freedom, or smaller than that of the most
    score = abs(value) / math.sqrt(math.fsum(v for v, _ in used))
    low, high = (max(float(2.0 * stdtr(min(f(df for _, df in used), _MANY), -score)), _LEAST) for f in (max, min))

    def excess(log_level: float) -> float:
        return half_width(used, math.exp(log_level)) - abs(value)

    ends = math.log(low), math.log(high)
    # asked at the very points that brentq starts from, as rounding decides where both ends are nearly the same
    if excess(ends[0]) <= 0:
        return low
    if excess(ends[1]) >= 0:
        return high
    return math.exp(brentq(excess, *ends, xtol=1e-9))


_LEAST = 1e-250  # smaller p-values are as good as this one
_MANY = 1e9


def satterthwaite(parts: Sequence[tuple[Array, float]]) -> tuple[Array, Array]:
    """Return the sums of variances and their degrees of freedom (Satterthwaite 1946); 0 and infinity of nothing."""
    total = np.asarray(sum(v for v, _ in parts))
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.divide(total**2, sum(v**2 / df for v, df in parts))
    return total, np.where(total > 0, df, np.inf)


def interval(parts: Components, weights: Array | None = None, confidence: float = 0.95) -> Interval:
    r"""Return the interval of one statistic, or of a linear combination of several.

    Its variance has one part per factor, see :func:`half_width`: seeds (over tasks, with Satterthwaite's degrees of
    freedom), upstream replicates, and test images without what they share with the others. Where tasks are random they
    take the place of images and seeds. The degrees of freedom of test images are
    :math:`2 (\sum u^2)^2 / \sum u^4` over the units' residuals u, since a few images in dispute carry less than the
    number of images says. One unit more, on which the models disagree, is added per task: for proportions this is the
    adjustment of Agresti and Min (2005), which keeps intervals honest where few or no images are in dispute.

    Parameters
    ----------
    parts : Components
        Covariance components of p statistics.
    weights : ndarray of shape (p,), optional
        The linear combination; it may be left out where p is 1.
    confidence : float
        Coverage of the interval.
    """
    c = np.ones(1) if weights is None else np.asarray(weights, dtype=np.float64)
    value = float(c @ parts.statistics.values)
    named, found = variance_parts(parts, lambda matrix: c @ matrix @ c, *map(np.asarray, _of_images(parts, c)))
    used = [(float(v), float(df)) for v, df in found if v > 0]
    variances = tuple((factor, float(v)) for factor, v in named.items() if v > 0)
    if not used or not has_spread(parts):
        return Interval(value, math.nan, math.nan, (), (), variances)
    half = half_width(used, 1.0 - confidence)
    return Interval(value, value - half, value + half, scope_of(parts, c), tuple(used), variances)


def variance_parts(
    parts: Components, quadratic: Callable[[Array], Array], images: Array, fourth: Array, added: Array
) -> tuple[dict[str, Array], list[tuple[Array, Array]]]:
    """Return what factors contribute to variances, and the variances' independent parts with degrees of freedom.

    Parameters
    ----------
    parts : Components
        Covariance components of p statistics.
    quadratic : callable
        From a covariance matrix of the statistics to the variances of some linear combinations.
    images, fourth, added : float or ndarray
        Of the same combinations: the variance over test images, the sum of fourth powers of the units' residuals, and
        what the added units contribute.
    """
    levels = {
        factor: [(quadratic(part.matrix), part.df) for part in parts.levels if part.factor == factor]
        for factor in ("seeds", "replicates")
    }
    replicates = [(v, np.asarray(df)) for v, df in levels["replicates"]]
    seeds = satterthwaite(levels["seeds"])
    named = {"images": images, "seeds": seeds[0], "replicates": np.asarray(sum(v for v, _ in replicates))}
    if parts.tasks is not None:
        named["tasks"] = quadratic(parts.tasks.matrix)
        return named, [(named["tasks"] + added, np.asarray(parts.tasks.df)), *replicates]
    both = np.asarray(sum(quadratic(part.matrix) for part in parts.both))
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(fourth > 0, np.divide(2.0 * images**2, fourth), np.inf)
    return named, [(np.maximum(images - both, 0.0) + added, df), seeds, *replicates]


def has_spread(parts: Components) -> bool:
    """Return whether every task has two units of test images, without which their variance can't be seen."""
    return all(residuals.shape[1] >= 2 for residuals in parts.residuals)


def scope_of(parts: Components, weights: Array) -> tuple[str, ...]:
    """Return what an interval of a combination of statistics covers."""
    names = {n for g in parts.statistics.gradients for n, gradient in g.items() if (weights * gradient).any()}
    missing = {factor for name, factor in parts.uncovered if name in names}
    scope = [] if "seeds" in missing else [SEEDS]
    scope.append(IMAGES)
    if "replicates" not in missing:
        scope.append(REPLICATES)
    return (*scope, TASKS) if parts.tasks is not None else tuple(scope)


def _of_images(parts: Components, c: Array) -> tuple[float, float, float]:
    """Return the variance over test images, the sum of fourth powers behind it, and the added unit's variance."""
    variance, fourth, added = 0.0, 0.0, 0.0
    for panel, gradients, residuals in zip(
        parts.statistics.panels, parts.statistics.gradients, parts.residuals, strict=True
    ):
        squares = (c @ residuals) ** 2
        variance += float(squares.sum())
        fourth += float((squares**2).sum())
        added += max(abs(float(c @ g)) for g in gradients.values()) ** 2 * panel.design.one_unit
    return variance, fourth, added


def relative_error_interval(
    panels: Sequence[Panel], entry: str, reference: str, *, random_tasks: bool = False, confidence: float = 0.95
) -> Interval:
    """Return the mean relative error increase of an entry with its interval.

    Parameters
    ----------
    panels : sequence of Panel
        The tasks; each has both models.
    entry, reference : str
        The models.
    random_tasks : bool
        Whether the interval is to cover the choice of tasks: "another task of this kind".
    confidence : float
        Coverage of the interval.
    """
    if entry == reference:
        return Interval(0.0, 0.0, 0.0, ())
    return interval(components(relative_error_increases(panels, {entry: reference}), random_tasks), None, confidence)


def accuracy_difference_interval(panel: Panel, model: str, other: str, *, confidence: float = 0.95) -> Interval:
    """Return the difference of two models' accuracies on one task, ``model`` minus ``other``, with its interval."""
    return interval(components(accuracy_difference(panel, [model], [other])), None, confidence)


def all_intervals(
    panels: Sequence[Panel], references: dict[str, str], *, random_tasks: bool = False, confidence: float = 0.95
) -> dict[str, Interval]:
    """Return the interval of each entry's mean relative error increase, for a table of entries."""
    parts = components(relative_error_increases(panels, references), random_tasks)
    units = np.eye(len(references))
    return {
        entry: Interval(0.0, 0.0, 0.0, ()) if entry == reference else interval(parts, row, confidence)
        for (entry, reference), row in zip(references.items(), units, strict=True)
    }
