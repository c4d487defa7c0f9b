"""Blur: out of focus, behind frosted glass, by motion, and by a zooming lens."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .arrays import Fractions, Pixels, fractions, moved, pixels_of, zoomed

_SMALLEST = 8  # pixels that the kernel of a disk extends from its centre at least


def defocus_blur(pixels: Pixels, disk: tuple[float, float], random: np.random.Generator) -> Pixels:
    """Average over a disk of a radius whose edge is smoothed: ``disk`` is (radius, width of the edge)."""
    from scipy.ndimage import correlate

    kernel = _disk(*disk)
    values = fractions(pixels)
    return pixels_of(np.stack([correlate(values[..., k], kernel, mode="mirror") for k in range(3)], axis=2))


@lru_cache(maxsize=32)
def _disk(radius: float, edge: float) -> npt.NDArray[np.float64]:
    """Return a disk's kernel: whole pixels, smoothed by a Gaussian of 3 (large ones: 5) taps, without empty borders."""
    from scipy.ndimage import correlate1d

    reach = _SMALLEST if radius <= _SMALLEST else int(radius)
    at = np.arange(-reach, reach + 1)
    kernel = (at[:, None] ** 2 + at**2 <= radius**2).astype(np.float64)
    kernel /= kernel.sum()
    taps = np.arange(-1, 2) if radius <= _SMALLEST else np.arange(-2, 3)
    weights = np.exp(-(taps**2) / (2 * edge**2))
    weights /= weights.sum()
    for axis in (0, 1):
        kernel = correlate1d(kernel, weights, axis=axis, mode="mirror")
    (used,) = np.nonzero(kernel.max(axis=0) > 0)
    cut = slice(used[0], used[-1] + 1)
    kernel = np.ascontiguousarray(kernel[cut, cut])
    kernel.setflags(write=False)
    return kernel


def glass_blur(pixels: Pixels, glass: tuple[float, int, int], random: np.random.Generator) -> Pixels:
    """Blur, let each pixel take the value of one near it, and blur again.

    ``glass`` is (sd of the blur, farthest step, how many times). Pixels are taken in turn from the bottom right, so
    that a value may travel; the published sets were made so, with copies where the paper speaks of swaps.
    """
    sd, reach, times = glass
    size = pixels.shape[0]
    blurred = pixels_of(_gaussian(fractions(pixels), sd)).reshape(-1, 3)
    taken = list(range(size * size))
    inner = range(size - reach, reach, -1)
    for _ in range(times):
        steps = random.integers(-reach, reach, size=(len(inner) ** 2, 2))
        offsets = iter((steps[:, 1] * size + steps[:, 0]).tolist())
        for row in inner:
            start = row * size
            for place in range(start + inner[0], start + inner[-1] - 1, -1):
                taken[place] = taken[place + next(offsets)]
    return pixels_of(_gaussian(fractions(blurred[taken].reshape(pixels.shape)), sd))


def _gaussian(values: Fractions, sd: float) -> Fractions:
    from scipy.ndimage import gaussian_filter

    blurred: Fractions = gaussian_filter(values, (sd, sd, 0), mode="nearest", truncate=4.0)
    return blurred


def motion_blur(pixels: Pixels, motion: tuple[int, float], random: np.random.Generator) -> Pixels:
    """Blur along a line at up to 45 degrees to the horizontal: ``motion`` is (radius, sigma)."""
    return pixels_of(moved(fractions(pixels), *motion, angle=random.uniform(-45.0, 45.0)))


def zoom_blur(pixels: Pixels, zoom: tuple[float, float], random: np.random.Generator) -> Pixels:
    """Average an image and its enlargements: ``zoom`` is (the end of the factors from 1 on, their step)."""
    values = fractions(pixels).astype(np.float32)
    factors = np.arange(1.0, *zoom)
    total = values + sum(zoomed(values, factor) for factor in factors.tolist())
    return pixels_of(total / (len(factors) + 1))
