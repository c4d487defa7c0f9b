"""Two checkpoints as populations of networks: exemplars, class impact and confusion, and what chance makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..analysis import class_impact, confusion, exemplars, impact_p_values
from ..analysis.panels import Array
from .pairing import Level

Runs = npt.NDArray[np.integer]
"""Predicted classes, shape (runs, n)."""


@dataclass(frozen=True)
class Exemplar:
    """An image whose most frequent class over A's runs isn't most frequent over B's.

    Parameters
    ----------
    image : str
        Its id.
    label, first, second : int
        Its class, and the most frequent predicted ones of A and of B (the lowest, where several are).
    """

    image: str
    label: int
    first: int
    second: int


@dataclass(frozen=True)
class ClassImpact:
    """Recall minus accuracy of a class under both checkpoints, and the p-value of the difference (Welch, Holm)."""

    label: int
    first: float
    second: float
    p: float

    @property
    def changed(self) -> bool:
        """Whether the difference is more than chance, at 5 % over all classes together."""
        return self.p <= 0.05


@dataclass(frozen=True, eq=False)
class Populations:
    """What two populations of networks do differently.

    Parameters
    ----------
    over : str
        What the networks differ in: ``upstream replicates``, or ``heads`` on one backbone; empty where a side has one.
    exemplars : tuple of Exemplar
        In the order of the images.
    noise : int or None
        As many exemplars are there between two halves of B's own runs, every other replicate or every other head; None
        with fewer than four runs.
    impacts : tuple of ClassImpact
        By class.
    confusions : tuple of ndarray, shape (K, K)
        Of A and of B: the fraction of each true class (row) that is predicted as each class, in the mean over runs.
    """

    over: str = ""
    exemplars: tuple[Exemplar, ...] = ()
    noise: int | None = None
    impacts: tuple[ClassImpact, ...] = ()
    confusions: tuple[Array, ...] = ()


def populations(
    first: Runs, second: Runs, levels: Sequence[Sequence[Level]], ids: Sequence[str], labels: npt.NDArray[np.int64]
) -> Populations:
    """Return what two populations do differently.

    Parameters
    ----------
    first, second : ndarray of int, shape (runs, n)
        Predicted classes.
    levels : sequence of sequence of Level
        Replicate and seed of both sides' runs. Where both have several replicates, the class impact is a replicate's
        mean over seeds, and networks are replicates.
    ids : sequence of str
        The n images.
    labels : ndarray of int, shape (n,)
        True class indices.
    """
    sizes = max(int(values.max()) for values in (first, second, labels)) + 1
    confusions = tuple(_confusion(own, labels, sizes) for own in (first, second))
    if min(len(first), len(second)) < 2:
        return Populations(confusions=confusions)
    several = all(len({replicate for replicate, _ in own}) > 1 for own in levels)
    found = [
        Exemplar(ids[int(place)], int(labels[place]), _modal(first[:, place]), _modal(second[:, place]))
        for place in np.flatnonzero(exemplars(first, second))
    ]
    noise = _noise(second, levels[1], several)
    impacts = [
        _by_network(class_impact(own != labels, labels), level, several)
        for own, level in zip((first, second), levels, strict=True)
    ]
    rows = zip(np.unique(labels), *(own.mean(axis=0) for own in impacts), impact_p_values(*impacts), strict=True)
    return Populations(
        "upstream replicates" if several else "heads",
        tuple(found),
        noise,
        tuple(ClassImpact(int(label), float(a), float(b), p) for label, a, b, p in rows),
        confusions,
    )


def _noise(second: Runs, levels: Sequence[Level], several: bool) -> int | None:
    """Return how many exemplars there are between two halves of B's runs, every other replicate or seed."""
    numbers = [replicate for replicate, _ in levels] if several else list(range(len(second)))
    odd = np.array([sorted(set(numbers)).index(number) % 2 == 1 for number in numbers])
    return int(exemplars(second[~odd], second[odd]).sum()) if len(second) > 3 else None


def _by_network(impact: Array, levels: Sequence[Level], several: bool) -> Array:
    """Return the class impact by network: by run, or by replicate in the mean over its seeds."""
    if not several:
        return impact
    numbers = np.array([replicate for replicate, _ in levels])
    return np.stack([impact[numbers == number].mean(axis=0) for number in np.unique(numbers)])


def _confusion(predicted: Runs, labels: npt.NDArray[np.int64], sizes: int) -> Array:
    counts = np.mean([confusion(own, labels, sizes) for own in predicted], axis=0)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))


def _modal(predicted: npt.NDArray[np.integer]) -> int:
    return int(np.bincount(predicted).argmax())
