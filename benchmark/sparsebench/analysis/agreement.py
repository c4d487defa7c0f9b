r"""Whether two classifiers predict alike, image by image.

:math:`p` is a predicted class, :math:`y` the label, and a classifier is right where :math:`p = y`. What isn't a mean
over images is linearised: one value per image, whose mean is the measure, for :func:`.means.mean_interval`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .panels import Array

Classes = npt.NDArray[np.integer]


def agreement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the fraction of images that two classifiers predict the same class for; one minus it is the churn.

    Parameters
    ----------
    first, second : array_like of int, shape (n,)
        Predicted class indices, right or wrong.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no image.
    """
    one, other = _pair(first, second)
    return float(np.mean(one == other))


def churn(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the fraction of images that two classifiers predict different classes for."""
    one, other = _pair(first, second)
    return float(np.mean(one != other))


def forgotten(first: npt.ArrayLike, second: npt.ArrayLike, labels: npt.ArrayLike) -> int:
    """Return how many images the second classifier (the reference) gets right and the first one wrong.

    Parameters
    ----------
    first, second : array_like of int, shape (n,)
        Predicted class indices, for example of a sparse network and of its dense reference.
    labels : array_like of int, shape (n,)
        True class indices.
    """
    one, other = _pair(first, second)
    truth = _pair(one, labels)[1]
    return int(np.sum((one != truth) & (other == truth)))


def gained(first: npt.ArrayLike, second: npt.ArrayLike, labels: npt.ArrayLike) -> int:
    """Return how many images the first classifier gets right and the second one (the reference) wrong."""
    return forgotten(second, first, labels)


def error_consistency(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    r"""Return whether two classifiers err on the same images more than their accuracies imply: Cohen's kappa.

    :math:`\kappa = (o - e)/(1 - e)`, where o is the fraction of images that both get right or both get wrong, and
    :math:`e = a b + (1-a)(1-b)` the expected one if classifiers of accuracies a and b erred independently (Geirhos,
    Meding and Wichmann 2020). 1: the same errors; 0: as if independent; below 0: errors avoid one another. NaN where
    both get all images right, or both get all wrong: then there is nothing to be consistent about.

    Parameters
    ----------
    first, second : array_like of bool, shape (n,)
        Which images each gets right.
    """
    values = kappa_values(first, second)
    return math.nan if np.isnan(values).any() else float(np.mean(values))


def kappa_values(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    """Return one value per image whose mean is the error consistency, shape (n,); all NaN where it isn't defined.

    The values are the measure plus each image's influence on it (delta method), so that their variance over n is the
    measure's own.
    """
    one, other = (values.astype(bool) for values in _pair(first, second))
    n = len(one)
    same, a, b = int(np.sum(one == other)), int(one.sum()), int(other.sum())
    # in whole numbers: where nothing can differ, the denominator is exactly 0
    independent = a * b + (n - a) * (n - b)
    if independent == n * n:
        return np.full(n, math.nan)
    o, e, pa, pb = same / n, independent / n**2, a / n, b / n
    kappa = (o - e) / (1 - e)
    expected = (2 * pb - 1) * (one - pa) + (2 * pa - 1) * (other - pb)
    return np.asarray(kappa + ((one == other) - o) / (1 - e) - (1 - o) / (1 - e) ** 2 * expected)


def exemplars(population: npt.ArrayLike, other: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which images a sparse population predicts otherwise than a dense one: pruning-identified exemplars.

    An image is one where the modal class over the first population isn't modal over the second (Hooker et al. 2019,
    "What do compressed deep neural networks forget?", who trained 30 networks each). Where several classes are equally
    frequent, all of them are modal, and the image is an exemplar only if the populations share none.

    Over upstream replicates these are exemplars as published. Over heads on one backbone they are *exemplars over
    heads*, and should be called so: what another training of the backbone would predict isn't in them.

    Parameters
    ----------
    population, other : array_like of int, shape (m, n) and (k, n)
        Predicted class indices by network and image.

    Raises
    ------
    ValueError
        If a shape is another, or a population is empty.
    """
    one, reference = np.asarray(population), np.asarray(other)
    if one.ndim != 2 or reference.ndim != 2 or one.shape[1] != reference.shape[1] or not len(one) or not len(reference):
        raise ValueError(f"populations of shape {one.shape} and {reference.shape}: each needs networks by images")
    classes = int(max(one.max(initial=0), reference.max(initial=0))) + 1
    result = np.empty(one.shape[1], dtype=bool)
    step = max(1, 2**20 // classes)
    for start in range(0, len(result), step):
        part = slice(start, start + step)
        result[part] = ~(_modal(one[:, part], classes) & _modal(reference[:, part], classes)).any(axis=1)
    return result


def _modal(predicted: npt.NDArray[np.integer], classes: int) -> npt.NDArray[np.bool_]:
    """Return which classes are most frequent, shape (m, n) to (n, classes)."""
    counts = np.zeros((predicted.shape[1], classes), dtype=np.int64)
    for row in predicted:
        counts[np.arange(len(row)), row] += 1
    return np.asarray(counts == counts.max(axis=1, keepdims=True))


def _pair(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    one, other = np.asarray(first), np.asarray(second)
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise ValueError(f"predictions of shape {one.shape} and {other.shape}: both need one value per image")
    return one, other
