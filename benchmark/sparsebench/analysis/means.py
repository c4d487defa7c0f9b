"""The interval of a measure that is a mean over test images, over seeds and replicates of what made it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from .components import components
from .intervals import Interval, interval
from .panels import Array, Panel, Wrong
from .statistics import Linearised


def mean_interval(
    values: Array,
    levels: Sequence[tuple[int, int]],
    clusters: npt.NDArray[np.int64] | None = None,
    *,
    confidence: float = 0.95,
) -> Interval:
    """Return the mean of a value per image, over images and runs, with its interval.

    The rules are those of accuracies: images (or their sources) and seeds are crossed, replicates take the place of
    seeds, and each part of the variance has its own degrees of freedom: see :func:`.intervals.interval`.

    Parameters
    ----------
    values : ndarray, shape (runs, n)
        By run (or pair of runs) and image. Runs with NaN have no measure and are left out.
    levels : sequence of (replicate, seed)
        Of each run, distinct.
    clusters : ndarray of int, shape (n,), optional
        The source of each image.
    confidence : float
        Of the interval.

    Returns
    -------
    Interval
        NaN where no run has the measure.
    """
    known = ~np.isnan(values).any(axis=1)
    if not known.any():
        return Interval(math.nan, math.nan, math.nan, ())
    kept = tuple(level for level, own in zip(levels, known, strict=True) if own)
    # a mean of what is wrong is a mean like any other
    panel = Panel(
        "", np.zeros(values.shape[1], dtype=np.int64), {"": Wrong(cast(Any, values[known]), kept)}, clusters=clusters
    )
    value = np.array([panel.error("")])
    return interval(components(Linearised(value, value[:, None], (panel,), ({"": np.ones(1)},))), None, confidence)
