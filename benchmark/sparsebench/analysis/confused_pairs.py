"""Which classes are taken for which others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ConfusedPair:
    """Images of class ``true`` that are predicted to be of class ``predicted``, counted over runs.

    Parameters
    ----------
    true, predicted : int
        The classes.
    count : int
        Predictions of this kind in all runs.
    of : int
        Predictions for images of the true class in all runs.
    """

    true: int
    predicted: int
    count: int
    of: int

    @property
    def share(self) -> float:
        """Fraction of the predictions for the true class."""
        return self.count / self.of


def most_confused(
    labels: npt.NDArray[np.int64], predicted: Iterable[npt.NDArray[np.int64]], most: int = 10
) -> list[ConfusedPair]:
    """Return the most frequent wrong predictions, most frequent first; ties in the order of the classes.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        The true classes.
    predicted : iterable of ndarray of int, shape (n,)
        Of each run.
    most : int
        How many pairs at most.
    """
    rows = [np.asarray(row) for row in predicted]
    if not rows or not len(labels):
        return []
    classes = 1 + int(max(labels.max(), *(row.max() for row in rows)))
    codes = np.concatenate([labels[row != labels] * classes + row[row != labels] for row in rows])
    pairs, counts = np.unique(codes, return_counts=True)
    sizes = np.bincount(labels, minlength=classes) * len(rows)
    order = np.lexsort((pairs, -counts))[:most]
    found = ((*divmod(int(pairs[at]), classes), int(counts[at])) for at in order)
    return [ConfusedPair(true, other, count, int(sizes[true])) for true, other, count in found]
