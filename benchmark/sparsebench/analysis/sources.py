"""Where the variance is: components by head seed, test images, upstream replicate and task, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .components import Components, components
from .panels import Panel
from .power import sources_of
from .statistics import accuracies, relative_error_increases

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: tuple[str, ...] = (
    "entry",
    "value",
    "images",
    "seeds",
    "replicates",
    "observed",
    "both",
    "tasks",
    "n_seeds",
    "n_replicates",
)


def variance_sources(
    panels: Sequence[Panel], references: Mapping[str, str] | None, models: Sequence[str]
) -> pd.DataFrame:
    r"""Return the variance components of models as standard deviations, one row per model.

    Each is the standard deviation of the mean over tasks if just this factor were drawn anew, once: one seed per task,
    one upstream training, the test images that there are. ``both`` is what goes with a seed and an image together.
    ``tasks`` is the standard deviation between tasks, without what images and seeds add to it. Estimates below zero are
    shown as 0; NaN is what a single level can't show. With several replicates, what seeds add is in ``replicates``.
    ``observed`` is the standard deviation between the replicates' own values: what seeds and images add isn't
    subtracted, so that it is never below zero.

    Parameters
    ----------
    panels : sequence of Panel
        The tasks.
    references : mapping of str to str, optional
        By model: what its relative error increase is against. Without them the components are those of the accuracy.
    models : sequence of str
        The rows.
    """
    import pandas as pd

    rows: list[dict[str, object]] = []
    for model in models:
        statistic = (
            accuracies(panels, [model])
            if references is None
            else relative_error_increases(panels, {model: references[model]})
        )
        own = standard_deviations(components(statistic))
        rows.append({"entry": model, "value": float(statistic.values[0])} | own)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def standard_deviations(parts: Components) -> dict[str, float]:
    """Return what one statistic's components are as standard deviations, by name, and the numbers of levels.

    Parameters
    ----------
    parts : Components
        Of a single statistic.

    Returns
    -------
    dict of str to float
        ``images``, ``seeds``, ``replicates``, ``observed``, ``both``, ``tasks``, ``n_seeds`` and ``n_replicates`` of
        :func:`variance_sources`.
    """
    got, seeds, replicates = sources_of(parts, np.ones(1))
    count = len(parts.statistics.panels)
    spread = float(np.var(parts.statistics.by_task[0], ddof=1)) if count > 1 else np.nan
    between = sum(float(part.matrix.sum()) for part in parts.levels if part.factor == "replicates")
    # a task's own value varies by T squared times its share of the variance of the mean
    within = count * (got.own + (got.seeds + got.both) / (seeds * replicates))
    return {
        "images": got.own**0.5,
        "seeds": got.seeds**0.5 if seeds > 1 and replicates == 1 else np.nan,
        "replicates": got.replicates**0.5 if replicates > 1 else np.nan,
        "observed": (between * replicates) ** 0.5 if replicates > 1 else np.nan,
        "both": got.both**0.5 if seeds * replicates > 1 else np.nan,
        "tasks": max(spread - within, 0.0) ** 0.5 if count > 1 else np.nan,
        "n_seeds": seeds,
        "n_replicates": replicates,
    }


def pooled_sd(values: Sequence[float], replicates: Sequence[int], confidence: float = 0.95) -> tuple[float, ...]:
    r"""Return a standard deviation between trainings pooled over entries, its interval, and its degrees of freedom.

    The root of the mean of the variances, weighted by their degrees of freedom, R - 1 for R trainings; the interval is
    that of a normal variance, :math:`s \sqrt{\nu / \chi^2_\nu}`.

    Parameters
    ----------
    values : sequence of float
        The standard deviation of each entry.
    replicates : sequence of int
        Trainings of each entry, at least 2.
    confidence : float
        Of the interval.

    Returns
    -------
    tuple of float
        The standard deviation, the interval's ends, and the degrees of freedom; NaN of nothing.
    """
    from scipy.stats import chi2

    degrees = [count - 1 for count in replicates]
    df = sum(degrees)
    if not df:
        return (np.nan, np.nan, np.nan, 0.0)
    sd = (sum(v**2 * n for v, n in zip(values, degrees, strict=True)) / df) ** 0.5
    tail = (1.0 - confidence) / 2.0
    low, high = (sd * (df / float(chi2.ppf(q, df))) ** 0.5 for q in (1.0 - tail, tail))
    return (sd, low, high, float(df))


def detectable_difference(replicates: int, replicate_sd: float, power: float = 0.8, confidence: float = 0.95) -> float:
    """Return the least true difference of two methods that some upstream trainings of each show with a power.

    The inverse of :func:`replicates_needed`, by the same test.

    Parameters
    ----------
    replicates : int
        Trainings of each method, at least 2.
    replicate_sd : float
        Standard deviation between trainings of one method.
    power, confidence : float
        Of the test.
    """
    from scipy.optimize import brentq

    if replicates < 2:
        raise ValueError(f"a difference is tested with two trainings of each method or more, not {replicates}")
    # in units of the standard deviation; with two trainings of each at a power of 80 % it is 5.6
    found = brentq(lambda d: _power(d, replicates, confidence) - power, 1e-6, 1e3, xtol=1e-9)
    return replicate_sd * float(found)


def _power(effect: float, replicates: int, confidence: float) -> float:
    """Return the power of the two-sided t test for a difference of so many standard deviations."""
    from scipy.stats import nct, t

    df, shift = 2 * (replicates - 1), effect / (2.0 / replicates) ** 0.5
    critical = t.ppf(0.5 + confidence / 2.0, df)
    # far out scipy's noncentral t loses its way; there the power is 1
    return 1.0 if shift > critical + 10.0 else float(nct.sf(critical, df, shift))


def replicates_needed(difference: float, replicate_sd: float, power: float = 0.8, confidence: float = 0.95) -> int:
    r"""Return how many upstream trainings of each of two methods show a true difference of their means.

    The smallest R of at least 2 for which the two-sided t test with :math:`2(R-1)` degrees of freedom has the power,
    where everything but the trainings is known exactly: noncentral t with
    :math:`\delta = d / (\sigma \sqrt{2/R})`.

    Parameters
    ----------
    difference : float
        Between the methods, above 0.
    replicate_sd : float
        Standard deviation between trainings of one method.
    power, confidence : float
        Of the test.
    """
    if difference <= 0:
        raise ValueError(f"the difference must be positive, not {difference}")
    if replicate_sd <= 0:
        return 2

    def reached(count: int) -> bool:
        return _power(difference / replicate_sd, count, confidence) >= power

    high = 2
    while not reached(high):
        high *= 2
    low = max(high // 2, 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
