"""Where the variance is: components by head seed, test images, upstream replicate and task, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .components import components
from .panels import Panel
from .power import sources_of
from .statistics import Linearised, accuracies, relative_error_increases

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: tuple[str, ...] = (
    "entry",
    "value",
    "images",
    "seeds",
    "replicates",
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

    rows = []
    for model in models:
        statistic = (
            accuracies(panels, [model])
            if references is None
            else relative_error_increases(panels, {model: references[model]})
        )
        rows.append(_row(model, statistic))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(model: str, statistic: Linearised) -> tuple[object, ...]:
    parts = components(statistic)
    one = np.ones(1)
    got, seeds, replicates = sources_of(parts, one)
    several = len(statistic.panels) > 1
    spread = float(np.var(statistic.by_task[0], ddof=1)) if several else np.nan
    # a task's own value varies by T squared times its share of the variance of the mean
    count = len(statistic.panels)
    within = count * (got.own + (got.seeds + got.both) / (seeds * replicates))
    return (
        model,
        float(statistic.values[0]),
        got.own**0.5,
        got.seeds**0.5 if seeds > 1 and replicates == 1 else np.nan,
        got.replicates**0.5 if replicates > 1 else np.nan,
        got.both**0.5 if seeds * replicates > 1 else np.nan,
        max(spread - within, 0.0) ** 0.5 if several else np.nan,
        seeds,
        replicates,
    )


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
    from scipy.stats import nct, t

    if difference <= 0:
        raise ValueError(f"the difference must be positive, not {difference}")
    if replicate_sd <= 0:
        return 2

    def reached(count: int) -> bool:
        df, shift = 2 * (count - 1), difference / (replicate_sd * (2.0 / count) ** 0.5)
        critical = t.ppf(0.5 + confidence / 2.0, df)
        # far out scipy's noncentral t loses its way; there the power is 1
        return shift > critical + 10.0 or float(nct.sf(critical, df, shift)) >= power

    high = 2
    while not reached(high):
        high *= 2
    low = max(high // 2, 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
