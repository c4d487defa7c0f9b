"""Temperature scaling: one number that logits are divided by, so that probabilities fit held-out labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .panels import Array
from .softmax import checked, log_softmax, rows

BOUNDS = (0.01, 100.0)
"""The least and greatest temperature: where all predictions are right, ever lower ones fit ever better."""
_STEPS, _TOLERANCE = 60, 1e-7


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Return the temperature of least NLL (Guo et al. 2017), within :data:`BOUNDS`.

    With :math:`\beta = 1/T` the mean NLL is convex: its derivative is the mean of
    :math:`\sum_k P_k z_k - z_y`. Its root is found by Newton's method, kept between bounds that each step tightens. The
    NLL at the result is never above that at 1.

    Parameters
    ----------
    logits : array_like of float, shape (n, K)
        Unnormalised log-probabilities z.
    labels : array_like of int, shape (n,)
        True class indices.

    Raises
    ------
    ValueError
        If the shapes differ, a logit isn't finite, or a label is no class.
    """
    values, truth = checked(logits, labels), np.asarray(labels)
    low, high = 1.0 / BOUNDS[1], 1.0 / BOUNDS[0]
    if _slopes(values, truth, low)[0] >= 0:
        return _no_worse(values, truth, low)
    if _slopes(values, truth, high)[0] <= 0:
        return _no_worse(values, truth, high)
    beta = 1.0
    for _ in range(_STEPS):
        slope, curvature = _slopes(values, truth, beta)
        low, high = (beta, high) if slope < 0 else (low, beta)
        step = beta - slope / curvature if curvature > 0 else low
        new = step if low < step < high else float(np.sqrt(low * high))
        if abs(new - beta) <= _TOLERANCE * beta:
            break
        beta = new
    return _no_worse(values, truth, beta)


def halves(units: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which images are in the second of two halves, shape (n,); it follows from their names alone.

    Parameters
    ----------
    units : sequence of str
        Each image's id, or the name of its source where several images come from one: these stay together. In the order
        of their hashes the distinct names fall into the halves by turns.
    """
    order = sorted(set(units), key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
    second = {name: place % 2 == 1 for place, name in enumerate(order)}
    return np.array([second[name] for name in units], dtype=bool)


def cross_fitted(logits: npt.ArrayLike, labels: npt.ArrayLike, second: npt.NDArray[np.bool_]) -> Array:
    """Return each image's temperature, fitted on the half that it isn't in, shape (n,).

    For where no validation images were kept: so no image's own label has a part in its temperature. Where a half is
    empty, temperatures are 1. Memory: a copy of half the logits.

    Parameters
    ----------
    logits, labels
        As of :func:`fit_temperature`.
    second : ndarray of bool, shape (n,)
        The halves: see :func:`halves`.
    """
    values, truth = checked(logits, labels), np.asarray(labels)
    result = np.ones(len(values))
    if second.any() and not second.all():
        for half in (second, ~second):
            result[~half] = fit_temperature(values[half], truth[half])
    return result


def _slopes(values: npt.NDArray[np.floating], truth: npt.NDArray[np.integer], beta: float) -> tuple[float, float]:
    """Return the first and second derivative of the mean NLL in the inverse temperature."""
    first = second = 0.0
    for part in rows(values):
        z = values[part].astype(np.float64)
        z -= z[np.arange(len(z)), truth[part], None]  # relative to the label's, so that large logits don't cancel
        weighted = np.exp(log_softmax(values[part], beta)) * z
        mean = weighted.sum(axis=1)
        first += float(mean.sum())
        second += float((np.einsum("nk,nk->n", weighted, z) - mean**2).sum())
    return first / len(values), second / len(values)


def _no_worse(values: npt.NDArray[np.floating], truth: npt.NDArray[np.integer], beta: float) -> float:
    """Return the temperature of an inverse one, or 1 where rounding made it worse."""
    return 1.0 / beta if _nll(values, truth, beta) <= _nll(values, truth, 1.0) else 1.0


def _nll(values: npt.NDArray[np.floating], truth: npt.NDArray[np.integer], beta: float) -> float:
    total = 0.0
    for part in rows(values):
        logs = log_softmax(values[part], beta)
        total -= float(logs[np.arange(len(logs)), truth[part]].sum())
    return total / len(values)
