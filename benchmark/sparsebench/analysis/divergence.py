"""How far apart the probabilities of two classifiers are, image by image, in nats."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .panels import Array
from .softmax import checked, log_softmax, rows


def kl_values(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    r"""Return each image's Kullback-Leibler divergence of two classifiers, shape (n,).

    :math:`\sum_k P^a_k \log(P^a_k / P^b_k)` of softmax probabilities, in nats. It isn't symmetric: the first classifier
    weights the classes. Memory: 32 MiB beside the logits, which stay in the precision that they have.

    Parameters
    ----------
    first, second : array_like of float, shape (n, K)
        Logits.

    Raises
    ------
    ValueError
        If the shapes differ, or a logit isn't finite.
    """
    one, other = _pair(first, second)
    result = np.empty(len(one))
    for part in rows(one):
        p, q = log_softmax(one[part]), log_softmax(other[part])
        # rounding can leave a tiny negative sum
        result[part] = np.maximum(np.einsum("nk,nk->n", np.exp(p), p - q), 0.0)
    return result


def jensen_shannon_values(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    r"""Return each image's Jensen-Shannon divergence of two classifiers, shape (n,), between 0 and log 2.

    The mean of both Kullback-Leibler divergences from the mean probabilities (Lin 1991), in nats; symmetric.

    Parameters
    ----------
    first, second : array_like of float, shape (n, K)
        Logits.
    """
    one, other = _pair(first, second)
    result = np.empty(len(one))
    for part in rows(one):
        p, q = log_softmax(one[part]), log_softmax(other[part])
        # log(P / M) = log 2 - log(1 + Q / P): exactly 0 where both are equal
        own = np.einsum("nk,nk->n", np.exp(p), math.log(2.0) - np.logaddexp(0.0, q - p))
        theirs = np.einsum("nk,nk->n", np.exp(q), math.log(2.0) - np.logaddexp(0.0, p - q))
        result[part] = np.clip((own + theirs) / 2.0, 0.0, math.log(2.0))
    return result


def _pair(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    one, other = checked(first), checked(second)
    if one.shape != other.shape:
        raise ValueError(f"logits of shape {one.shape} and {other.shape}: both classifiers need the same classes")
    return one, other
