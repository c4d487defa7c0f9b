"""How Pillow resizes 8-bit images: which pixels of an axis make an output, with what weights, and which axis is first.

The arithmetic is Pillow's, in its order, so that the rounded weights are Pillow's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

BITS = 22
"""Of a weight's fraction."""

SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
"""The interpolations, and how far their weights reach, in pixels of the smaller scale."""

Size: TypeAlias = tuple[int, int]
"""Width and height."""

Order: TypeAlias = Callable[[Size, Size], bool]
"""Says, of a size and a new one, whether rows are resized before columns: in between, values are rounded."""


def columns_first(_size: Size, _new: Size) -> bool:
    """Return False: versions of Pillow before 13 resize the columns first, whatever the sizes."""
    return False


def far_shorter(size: Size, new: Size) -> bool:
    """Return whether Pillow 13 resizes the rows first: if the height loses over twice as many pixels as the width."""
    return new[1] < size[1] and size[1] - new[1] > 2 * (size[0] - new[0])


def axis_weights(
    size: int, new: int, start: int, count: int, interpolation: str
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return which inputs make an output of one axis, and how much each counts.

    Parameters
    ----------
    size, new : int
        Pixels before and after.
    start, count : int
        The wanted outputs.
    interpolation : str
        A key of :data:`SUPPORT`.

    Returns
    -------
    ndarray, ndarray
        The first input of each output, and (count, taps) weights of it and those that follow, in units of
        ``2 ** -BITS``; 0 behind the last input that counts.
    """
    scale = size / new
    stretch = max(scale, 1.0)
    support = SUPPORT[interpolation] * stretch
    centre = (np.arange(start, start + count) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), size)
    inputs = first[:, None] + np.arange((last - first).max())
    values = _KERNELS[interpolation](np.abs((inputs - centre[:, None] + 0.5) * (1 / stretch)))
    values[inputs >= last[:, None]] = 0
    fixed = values / values.cumsum(axis=1)[:, -1:] * (1 << BITS)
    return first.astype(np.int32), (fixed + np.copysign(0.5, fixed)).astype(np.int32)


def _bilinear(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(1 - x, 0)


def _bicubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Keys's cubic with a = -0.5 (1981)."""
    a = -0.5
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


_KERNELS = {"bilinear": _bilinear, "bicubic": _bicubic}
