"""What it would take to decide: test images, seeds or upstream replicates for a given power."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .components import Components
from .panels import Array


@dataclass(frozen=True)
class Needed:
    """How much of one thing would decide a comparison, everything else as it is; None where no number would.

    Parameters
    ----------
    images : float or None
        Test images of every task, as a multiple of those there are.
    seeds : int or None
        Seeds per model, task and replicate.
    replicates : int or None
        Upstream replicates per model. None also where there is one, as its variance can't be seen.
    """

    images: float | None
    seeds: int | None
    replicates: int | None


@dataclass(frozen=True)
class Sources:
    r"""The variance of an estimate by source: :math:`I/x + S/(rs) + R/r + B/(xrs)`.

    Here x is the number of test images (1 for those there are), s the number of seeds, r that of replicates; ``own`` is
    I, ``seeds`` S, ``replicates`` R and ``both`` B, for images that go with seeds or replicates.
    """

    own: float
    seeds: float
    replicates: float
    both: float

    def variance(self, images: float, seeds: float, replicates: float) -> float:
        """Return the variance with so many images (as a multiple), seeds and replicates."""
        runs = seeds * replicates
        return self.own / images + self.seeds / runs + self.replicates / replicates + self.both / (images * runs)


def sources_of(parts: Components, weights: Array) -> tuple[Sources, int, int]:
    """Return the sources of the variance of a combination of statistics, and the numbers of seeds and replicates.

    With several replicates what their seeds add is in the replicates' part. Models with different numbers count with
    the smallest.
    """
    names = _names(parts, weights)
    levels = [own.levels for panel in parts.statistics.panels for name, own in panel.models.items() if name in names]
    replicates = min(len({replicate for replicate, _ in own}) for own in levels)
    seeds = min(len(own) // len({replicate for replicate, _ in own}) for own in levels)
    both = sum(float(weights @ part.matrix @ weights) for part in parts.both)
    by_factor = {"seeds": 0.0, "replicates": 0.0}
    for part in parts.levels:
        by_factor[part.factor] += float(weights @ part.matrix @ weights)
    images = float(weights @ parts.images @ weights)
    runs = seeds * replicates
    between = max(by_factor["seeds"] + by_factor["replicates"] - both, 0.0)
    own = max(images - both, 0.0)
    if replicates > 1:
        return Sources(own, 0.0, between * replicates, both * runs), seeds, replicates
    return Sources(own, between * runs, 0.0, both * runs), seeds, replicates


def needed(parts: Components, weights: Array, power: float = 0.8, confidence: float = 0.95) -> Needed:
    r"""Return what would decide a comparison if the true value is the one seen.

    A two-sided test of level :math:`1 - c` detects a value d with probability ``power`` where the standard error is
    :math:`|d| / (z_{(1+c)/2} + z_\mathrm{power})`. Images, seeds and replicates are raised one at a time.

    Parameters
    ----------
    parts : Components
        Covariance components of p statistics.
    weights : ndarray, shape (p,)
        The combination that is compared with 0.
    power : float
        Probability of a decision.
    confidence : float
        Of the intervals that decide.
    """
    from scipy.special import ndtri

    value = float(weights @ parts.statistics.values)
    sources, seeds, replicates = sources_of(parts, weights)
    target = (value / float(ndtri(0.5 + confidence / 2) + ndtri(power))) ** 2
    runs = seeds * replicates
    images = _ratio(
        sources.own + sources.both / runs, target - sources.seeds / runs - sources.replicates / replicates, 0.0
    )
    more_seeds = _ratio(
        (sources.seeds + sources.both) / replicates, target - sources.own - sources.replicates / replicates, 1
    )
    more = _ratio(sources.seeds / seeds + sources.replicates + sources.both / seeds, target - sources.own, 1)
    return Needed(
        images,
        None if more_seeds is None or seeds == 1 else math.ceil(more_seeds - 1e-9),
        None if more is None or replicates == 1 else math.ceil(more - 1e-9),
    )


def _ratio(amount: float, left: float, least: float) -> float | None:
    """Return how often an amount must be divided to fit into what is left; None where nothing is."""
    return None if left <= 0.0 else max(amount / left, least)


def _names(parts: Components, weights: Array) -> set[str]:
    return {n for task in parts.statistics.gradients for n, g in task.items() if (weights * g).any()}
