"""What corruptions share: pixels as fractions and back, linear interpolation along an axis, and motion."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""An image: shape (S, S, 3)."""

Fractions = npt.NDArray[np.floating]
"""An image between 0 and 1: shape (S, S, 3), or (S, S) of a layer."""


def fractions(pixels: Pixels) -> Fractions:
    """Return pixels as numbers from 0 to 1."""
    return pixels / 255.0


def pixels_of(values: Fractions) -> Pixels:
    """Return numbers as pixels: clipped to 0 and 1, and cut to whole levels as the published sets are."""
    cut: Pixels = (np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return cut


def zoomed(image: Fractions, factor: float) -> Fractions:
    """Return the centre of an image enlarged to its full size by linear interpolation.

    The centre is ``ceil(S / factor)`` pixels wide; its corners become the corners of the enlarged image, which is then
    trimmed to S, as ``scipy.ndimage.zoom`` of order 1 has it.
    """
    size = image.shape[0]
    part = math.ceil(size / factor)
    whole = round(part * factor)
    at = ((whole - size) // 2 + np.arange(size)) * ((part - 1) / max(whole - 1, 1))
    low = np.minimum(at.astype(np.intp), max(part - 2, 0))
    share = (at - low).astype(image.dtype)
    low += (size - part) // 2
    high = np.minimum(low + 1, size - 1)
    more = (1,) * (image.ndim - 1)
    rows = share.reshape(-1, *more)
    lines = image[low] * (1 - rows) + image[high] * rows
    columns = share.reshape(-1, *more[1:])
    enlarged: Fractions = lines[:, low] * (1 - columns) + lines[:, high] * columns
    return enlarged


def moved(image: Fractions, radius: int, sigma: float, angle: float) -> Fractions:
    """Return an image blurred by motion along a line, as ImageMagick blurs it.

    Parameters
    ----------
    image : ndarray, shape (S, S) or (S, S, 3)
        What is blurred; what lies beyond its border is like its border.
    radius : int
        Half the length of the line, in pixels.
    sigma : float
        The weight of a point on the line falls off as a Gaussian of this width, to one side.
    angle : float
        Of the line, in degrees, clockwise from the horizontal.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    turn = math.radians(angle)
    across, down = (np.ceil(steps * part - 0.5).astype(int) for part in (math.cos(turn), math.sin(turn)))
    size = image.shape[0]
    places = np.arange(size)
    blurred = np.zeros_like(image)
    for dy, dx, weight in _together(down, across, weights):
        rows, columns = (np.clip(places + by, 0, size - 1) for by in (dy, dx))
        blurred += weight * image[rows][:, columns]
    return blurred


def _together(
    down: npt.NDArray[np.int_], across: npt.NDArray[np.int_], weights: npt.NDArray[np.float64]
) -> Iterator[tuple[int, int, float]]:
    """Yield each step once, with the weight of all that go there."""
    found: dict[tuple[int, int], float] = {}
    for dy, dx, weight in zip(down.tolist(), across.tolist(), weights.tolist(), strict=True):
        found[dy, dx] = found.get((dy, dx), 0.0) + weight
    for (dy, dx), weight in found.items():
        yield dy, dx, weight
