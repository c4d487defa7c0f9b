"""What pruning changes class by class: confusion, recall, and which changes are more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .pairs import balances, clustered_mcnemar, holm, welch
from .panels import Array


def confusion(predicted: npt.ArrayLike, labels: npt.ArrayLike, num_classes: int) -> npt.NDArray[np.int64]:
    """Return how many images of each true class (row) were predicted as each class (column), shape (K, K).

    Parameters
    ----------
    predicted, labels : array_like of int, shape (n,)
        Class indices, in ``[0, num_classes)``.
    num_classes : int
        K.

    Raises
    ------
    ValueError
        If the shapes differ, or an index is no class.
    """
    guess, truth = np.asarray(predicted, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    if guess.ndim != 1 or guess.shape != truth.shape:
        raise ValueError(f"predictions of shape {guess.shape} don't fit labels of shape {truth.shape}")
    if len(truth) and not (min(guess.min(), truth.min()) >= 0 and max(guess.max(), truth.max()) < num_classes):
        raise ValueError(f"classes must lie in [0, {num_classes})")
    return np.bincount(truth * num_classes + guess, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class ClassChange:
    """One class under two models.

    Parameters
    ----------
    label : int
        The class.
    n : int
        Its images.
    recall, reference : float
        The fraction of them that the first and the second model get right, in the mean over their runs.
    p, holm_p : float
        McNemar's exact test on the images of this class, and the same adjusted over classes by Holm.
    """

    label: int
    n: int
    recall: float
    reference: float
    p: float
    holm_p: float

    @property
    def change(self) -> float:
        """Recall of the first model minus that of the second."""
        return self.recall - self.reference

    @property
    def changed(self) -> bool:
        """Whether the change is more than chance, at 5 % over all classes together."""
        return self.holm_p <= 0.05


def class_changes(
    wrong: npt.NDArray[np.bool_],
    other: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.integer],
    clusters: npt.NDArray[np.int64] | None = None,
) -> list[ClassChange]:
    """Return what changes in each class that has an image, by class.

    Parameters
    ----------
    wrong, other : ndarray of bool, shape (runs, n)
        What the first and the second model got wrong, run by run. An image counts in the test for the model that got it
        right in more of its runs.
    labels : ndarray of int, shape (n,)
        True class indices.
    clusters : ndarray of int, shape (n,), optional
        The source of each image; the test is then over sources (see :func:`.pairs.clustered_mcnemar`).
    """
    units = np.arange(len(labels)) if clusters is None else clusters
    balance = balances(wrong, other)
    rows = []
    for label in np.unique(labels):
        own = labels == label
        recall, reference = (1.0 - float(values[:, own].mean()) for values in (wrong, other))
        rows.append((int(label), int(own.sum()), recall, reference, clustered_mcnemar(balance[own], units[own])))
    adjusted = holm([row[-1] for row in rows])
    return [ClassChange(*row, p) for row, p in zip(rows, adjusted, strict=True)]


def class_impact(wrong: npt.NDArray[np.bool_], labels: npt.NDArray[np.integer]) -> Array:
    """Return each class's recall minus the accuracy, run by run, shape (runs, present classes).

    Hooker et al. (2019) compare it between populations of networks: a loss that all classes share doesn't count.

    Parameters
    ----------
    wrong : ndarray of bool, shape (runs, n)
        What each run got wrong.
    labels : ndarray of int, shape (n,)
        True class indices.
    """
    right = ~wrong
    recalls = np.stack([right[:, labels == label].mean(axis=1) for label in np.unique(labels)], axis=1)
    return np.asarray(recalls - right.mean(axis=1, keepdims=True))


def impact_p_values(impact: Array, other: Array) -> list[float]:
    """Return by class the p-value of a difference in class impact: Welch's test over networks, adjusted by Holm.

    The published test isn't adjusted for the number of classes; this one is.

    Parameters
    ----------
    impact, other : ndarray, shape (m, classes) and (k, classes)
        Of two populations of at least two networks: see :func:`class_impact`.

    Raises
    ------
    ValueError
        If a population has fewer than two networks.
    """
    return holm([welch(own, theirs)[2] for own, theirs in zip(impact.T, other.T, strict=True)])
