"""How well a classifier's probabilities are calibrated: reliability bins, expected calibration error, NLL, Brier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .panels import Array
from .softmax import checked, log_softmax, rows

Binning = Literal["width", "mass"]
BINS = 15
"""The usual number of bins (Guo et al. 2017)."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What a classifier's probabilities are worth, image by image.

    Parameters
    ----------
    confidence : ndarray, shape (n,)
        The probability of the predicted class.
    right : ndarray of bool, shape (n,)
        Whether that class is the label.
    nll : ndarray, shape (n,)
        Negative log-likelihood of the label, in nats.
    brier : ndarray, shape (n,)
        Sum over classes of the squared difference from the label's indicator, between 0 and 2.
    """

    confidence: Array
    right: npt.NDArray[np.bool_]
    nll: Array
    brier: Array


def score(logits: npt.ArrayLike, labels: npt.ArrayLike, temperature: float | Array = 1.0) -> Scored:
    r"""Return the confidence, NLL and Brier score of each image, from softmax probabilities.

    NLL is :math:`-\log P_y`, the Brier score :math:`\sum_k (P_k - 1[k = y])^2` (Brier 1950, summed over all classes).
    Memory: 24 MiB beside the logits, which stay in the precision that they have.

    Parameters
    ----------
    logits : array_like of float, shape (n, K)
        Unnormalised log-probabilities; the first largest is the predicted class.
    labels : array_like of int, shape (n,)
        True class indices.
    temperature : float or ndarray of shape (n,)
        What the logits are divided by.

    Raises
    ------
    ValueError
        If the shapes differ, a logit isn't finite, a label is no class, or a temperature isn't positive.
    """
    values, truth = checked(logits, labels), np.asarray(labels)
    by_image = np.broadcast_to(np.asarray(temperature, dtype=np.float64), (len(values),))
    if not (by_image > 0).all():
        raise ValueError("a temperature must be positive")
    confidence, nll, brier = np.empty(len(values)), np.empty(len(values)), np.empty(len(values))
    right = np.empty(len(values), dtype=bool)
    for part in rows(values):
        own = values[part] / by_image[part, None]
        logs = log_softmax(own)
        guess, at = own.argmax(axis=1), np.arange(len(own))
        nll[part] = -logs[at, truth[part]]
        np.exp(logs, out=logs)
        confidence[part] = logs[at, guess]
        right[part] = guess == truth[part]
        brier[part] = np.einsum("nk,nk->n", logs, logs) - 2.0 * logs[at, truth[part]] + 1.0
    # softmax sums to 1 but for rounding
    return Scored(np.minimum(confidence, 1.0), right, np.maximum(nll, 0.0), np.maximum(brier, 0.0))


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram's bins; those without an image have NaN means.

    Parameters
    ----------
    edges : ndarray, shape (bins + 1,)
        Of confidence; bins are open below and closed above.
    counts : ndarray of int, shape (bins,)
        Images.
    confidence, accuracy : ndarray, shape (bins,)
        Means over each bin's images.
    """

    edges: Array
    counts: npt.NDArray[np.int64]
    confidence: Array
    accuracy: Array

    @property
    def error(self) -> float:
        """The expected calibration error."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float(np.sum(gaps * self.counts[filled]) / self.counts.sum())


def reliability(scored: Scored, bins: int = BINS, by: Binning = "width") -> Reliability:
    """Return a reliability diagram's bins.

    Parameters
    ----------
    scored : Scored
        The images.
    bins : int
        How many bins.
    by : {"width", "mass"}
        Bins of equal width between 0 and 1 (Guo et al. 2017), or of equally many images (Nguyen and O'Connor 2015).

    Raises
    ------
    ValueError
        If ``bins`` isn't positive.
    """
    which, edges = _binned(scored.confidence, bins, by)
    counts = np.bincount(which, minlength=bins)
    sums = [np.bincount(which, weights=v, minlength=bins) for v in (scored.confidence, scored.right.astype(np.float64))]
    with np.errstate(invalid="ignore"):
        return Reliability(edges, counts, sums[0] / counts, sums[1] / counts)


def expected_calibration_error(
    logits: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS, by: Binning = "width"
) -> float:
    """Return the expected calibration error of softmax probabilities, between 0 and 1.

    The mean over images of the absolute difference between accuracy and mean confidence in the image's bin (Guo et al.
    2017, "On calibration of modern neural networks", eq. 3). Chance in each bin adds to it, so it
    isn't 0 for calibrated probabilities, and grows with ``bins``.

    Parameters
    ----------
    logits : array_like of float, shape (n, K)
        Unnormalised log-probabilities.
    labels : array_like of int, shape (n,)
        True class indices.
    bins, by
        As in :func:`reliability`.

    Raises
    ------
    ValueError
        As of :func:`score` and :func:`reliability`.
    """
    return reliability(score(logits, labels), bins, by).error


def ece_values(scored: Scored, bins: int = BINS, by: Binning = "width") -> Array:
    """Return one value per image whose mean is the expected calibration error, shape (n,).

    Each is the image's own excess of right over confidence, with the sign of its bin's. The signs are taken as known,
    so an interval from these values covers chance in the gaps, not the upward bias of small ones.
    """
    which, _ = _binned(scored.confidence, bins, by)
    excess = scored.right - scored.confidence
    return np.asarray(np.sign(np.bincount(which, weights=excess, minlength=bins))[which] * excess)


def _binned(confidence: Array, bins: int, by: Binning) -> tuple[npt.NDArray[np.int64], Array]:
    """Return each image's bin, and the bins' edges."""
    if bins < 1:
        raise ValueError(f"bins must be positive, not {bins}")
    if by == "width":
        return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1), np.linspace(0.0, 1.0, bins + 1)
    # equal confidences share a bin, so bins don't depend on the images' order
    edges = np.quantile(confidence, np.linspace(0.0, 1.0, bins + 1))
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1), edges
