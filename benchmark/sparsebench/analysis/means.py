"""The interval of a measure that is a mean over test images, over seeds and replicates of what made it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
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
    proportion: bool = True,
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
    proportion : bool
        Whether a value is 0 or 1. The unit that is added to the images is then one of value 1 (Agresti and Min), which
        keeps intervals honest near 0, and bounds lie between 0 and 1; else the unit is as far from the mean as images
        are on average.
    confidence : float
        Of the interval.

    Returns
    -------
    Interval
        NaN where no run has the measure.
    """
    known = ~np.asarray(np.isnan(values).any(axis=1))
    if not known.any():
        return Interval(math.nan, math.nan, math.nan, ())
    kept = tuple(level for level, own in zip(levels, known.tolist(), strict=True) if own)
    unit = 1.0 if proportion else float(np.std(values[known]))
    # a mean of what is wrong is a mean like any other
    outcomes = {"": Wrong(cast(Any, values[known] / (unit or 1.0)), kept)}
    panel = Panel("", np.zeros(values.shape[1], dtype=np.int64), outcomes, clusters=clusters)
    replicates = np.array([replicate for replicate, _ in kept])
    # by sums of the values themselves, so that a mean of zeros and ones is exact
    mean = np.mean([values[known][replicates == number].mean() for number in np.unique(replicates)], keepdims=True)
    found = interval(components(Linearised(mean, mean[:, None], (panel,), ({"": np.full(1, unit)},))), None, confidence)
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0)) if proportion and found.parts else found
