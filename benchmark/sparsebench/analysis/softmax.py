"""Softmax probabilities of many logits, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .panels import Array

_VALUES = 2**20  # logits of which the probabilities are in memory together: 8 MiB in double precision


def checked(logits: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> npt.NDArray[np.floating]:
    """Return logits as an array, in the precision that they have.

    Parameters
    ----------
    logits : array_like, shape (n, K)
        Unnormalised log-probabilities.
    labels : array_like of int, shape (n,), optional
        True class indices.

    Raises
    ------
    ValueError
        If a shape is another, there is no image or class, or a label is no class.
    """
    values = np.asarray(logits)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"logits must have shape (n, classes), both at least 1, not {values.shape}")
    if labels is not None:
        truth = np.asarray(labels)
        if truth.shape != (len(values),):
            raise ValueError(f"logits of shape {values.shape} don't fit labels of shape {truth.shape}")
        if truth.min() < 0 or truth.max() >= values.shape[1]:
            raise ValueError(f"labels must lie in [0, {values.shape[1]}), these span {truth.min()} to {truth.max()}")
    return values


def rows(values: npt.NDArray[np.floating]) -> Iterator[slice]:
    """Yield slices of rows that are small enough to be computed with in double precision."""
    step = max(1, _VALUES // values.shape[1])
    for start in range(0, len(values), step):
        yield slice(start, min(start + step, len(values)))


def log_softmax(values: npt.NDArray[np.floating], scale: float = 1.0) -> Array:
    """Return log-probabilities in double precision, shape (n, K), of logits times a scale.

    Raises
    ------
    ValueError
        If a logit isn't finite.
    """
    shifted = values.astype(np.float64)
    if not np.isfinite(shifted).all():
        raise ValueError("the logits hold NaN or infinity")
    shifted *= scale
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.asarray(shifted)
