"""Weather: snow, fog and bright light."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .arrays import Pixels, fractions, moved, pixels_of, zoomed

_GREY = np.array([0.299, 0.587, 0.114])
_SWING = 100.0  # of the first step of a fractal; it is scaled to 0 to 1 in the end


def snow(pixels: Pixels, flakes: tuple[float, ...], random: np.random.Generator) -> Pixels:
    """Let it snow: normal noise, enlarged, cut off, blurred by motion, added twice, on a whitened image.

    ``flakes`` is (mean, sd, enlargement, least value that is a flake, radius and sigma of the motion, share of the
    image that isn't whitened).
    """
    mean, sd, factor, least, radius, sigma, kept = flakes
    values = fractions(pixels)
    layer = zoomed(random.normal(mean, sd, size=pixels.shape[:2]), factor)
    layer[layer < least] = 0.0
    layer = moved(fractions(pixels_of(layer)), int(radius), sigma, angle=random.uniform(-135.0, -45.0))
    layer = fractions(np.rint(layer * 255).astype(np.uint8))[..., None]
    white = np.maximum(values, (values @ _GREY)[..., None] * 1.5 + 0.5)
    return pixels_of(kept * values + (1 - kept) * white + layer + np.rot90(layer, 2))


def fog(pixels: Pixels, thick: tuple[float, float], random: np.random.Generator) -> Pixels:
    """Add a cloud and scale back to the brightest value: ``thick`` is (how much is added, decay of its detail)."""
    amount, decay = thick
    values = fractions(pixels)
    size = pixels.shape[0]
    brightest = values.max()
    cloud = plasma(1 << (size - 1).bit_length(), decay, random)[:size, :size, None]
    return pixels_of((values + amount * cloud) * brightest / (brightest + amount))


def plasma(side: int, decay: float, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a fractal map (side, side) from 0 to 1 by the diamond-square algorithm (Fournier et al., 1982), periodic.

    Parameters
    ----------
    side : int
        A power of two.
    decay : float
        What the swing is divided by at each halving of the step; its square is the swing of the values.
    random : Generator
        What it is drawn from.
    """
    surface = np.zeros((side, side))
    step, swing = side, _SWING

    def middle(*around: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the mean of four neighbours, swung."""
        mean: npt.NDArray[np.float64] = sum(around) / 4  # type: ignore[assignment]
        return mean + swing * random.uniform(-swing, swing, mean.shape)

    while step >= 2:
        half = step // 2
        corners = surface[::step, ::step]
        right, below = np.roll(corners, -1, axis=1), np.roll(corners, -1, axis=0)
        centres = middle(corners, right, below, np.roll(right, -1, axis=0))
        surface[half::step, half::step] = centres
        surface[::step, half::step] = middle(corners, right, centres, np.roll(centres, 1, axis=0))
        surface[half::step, ::step] = middle(corners, below, centres, np.roll(centres, 1, axis=1))
        step, swing = half, swing / decay
    surface -= surface.min()
    return surface / surface.max()


def brightness(pixels: Pixels, more: float, random: np.random.Generator) -> Pixels:
    """Raise the value of HSV, the largest of red, green and blue; hue and saturation stay."""
    values = fractions(pixels)
    largest = values.max(axis=2, keepdims=True)
    raised = np.clip(largest + more, 0.0, 1.0)
    return pixels_of(np.where(largest > 0, values / np.where(largest > 0, largest, 1.0), 1.0) * raised)
