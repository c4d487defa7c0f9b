"""Whether a published accuracy agrees with a measured one."""

from __future__ import annotations

import math
from typing import Literal

Agreement = Literal["holds", "too high", "too low", "other images", "no claim"]
"""What is to be said of a claim: ``too high`` where the measured accuracy is lower."""


def binomial_interval(right: int, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of an accuracy over test images, as fractions (Wilson 1927).

    Parameters
    ----------
    right, images : int
        How many images were classified rightly, and how many there are (at least 1).
    confidence : float
        Of the interval.
    """
    from scipy.stats import binomtest

    found = binomtest(right, images).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def agreement_of(claimed: float | None, low: float, high: float, *, same_images: bool) -> Agreement:
    """Return whether a claimed accuracy lies in the interval of the measured one.

    Parameters
    ----------
    claimed : float or None
        As it was published, a fraction; None or NaN where it wasn't.
    low, high : float
        The interval.
    same_images : bool
        Whether the measured images are those that the claim is about: all of its test set.
    """
    if claimed is None or math.isnan(claimed):
        return "no claim"
    if not same_images:
        return "other images"
    return "too high" if claimed > high else "too low" if claimed < low else "holds"
