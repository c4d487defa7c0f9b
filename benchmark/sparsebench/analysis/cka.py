"""Linear CKA: how alike two representations of the same images are."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_VALUES = 2**22


def linear_cka(features: npt.ArrayLike, others: npt.ArrayLike) -> float:
    r"""Return the linear centred kernel alignment of two sets of features, between 0 and 1.

    :math:`\|Y^T X\|_F^2 / (\|X^T X\|_F \|Y^T Y\|_F)` with centred columns (Kornblith et al. 2019). It doesn't change
    where features are rotated, shifted, or scaled as a whole. NaN where one side is the same for all images. With fewer
    images than features it is near 1 whatever they are.

    Parameters
    ----------
    features, others : array_like of float, shape (n, p) and (n, q)
        Of the same images in the same order; p and q may differ. Memory: three matrices of p and q, and 64 MiB.

    Raises
    ------
    ValueError
        If a shape is another, or a feature isn't finite.
    """
    x, y = np.asarray(features), np.asarray(others)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not x.size or not y.size:
        raise ValueError(f"features of shape {x.shape} and {y.shape}: both need rows of the same images")
    means = [values.mean(axis=0, dtype=np.float64) for values in (x, y)]
    if not all(np.isfinite(mean).all() for mean in means):
        raise ValueError("the features hold NaN or infinity")
    scales = [_spread(values, mean) for values, mean in zip((x, y), means, strict=True)]
    if 0.0 in scales:
        return math.nan
    both, own, theirs = np.zeros((x.shape[1], y.shape[1])), *(np.zeros((v.shape[1],) * 2) for v in (x, y))
    step = max(1, _VALUES // max(x.shape[1], y.shape[1]))
    for start in range(0, len(x), step):
        a, b = ((v[start : start + step] - m) / s for v, m, s in zip((x, y), means, scales, strict=True))
        both += a.T @ b
        own += a.T @ a
        theirs += b.T @ b
    return min(1.0, float(np.sum(both**2) / (np.linalg.norm(own) * np.linalg.norm(theirs))))


def _spread(values: npt.NDArray[np.generic], mean: npt.NDArray[np.float64]) -> float:
    """Return the largest deviation from the mean, by which features are divided so that squares don't overflow."""
    low, high = values.min(axis=0), values.max(axis=0)
    if np.array_equal(low, high):
        return 0.0
    return float(max(np.max(high.astype(np.float64) - mean), np.max(mean - low.astype(np.float64))))
