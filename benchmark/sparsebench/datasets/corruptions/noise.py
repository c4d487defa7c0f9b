"""Noise: Gaussian, of few photons, and of broken pixels."""

from __future__ import annotations

import numpy as np

from .arrays import Pixels, fractions, pixels_of


def gaussian_noise(pixels: Pixels, sd: float, random: np.random.Generator) -> Pixels:
    """Add independent normal noise of a standard deviation (1 is white minus black)."""
    return pixels_of(fractions(pixels) + random.normal(scale=sd, size=pixels.shape))


def shot_noise(pixels: Pixels, photons: float, random: np.random.Generator) -> Pixels:
    """Draw each value from the Poisson distribution of so many photons at white."""
    return pixels_of(random.poisson(fractions(pixels) * photons) / photons)


def impulse_noise(pixels: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """Set a share of all values to 0 or 255, as often to either."""
    broken = random.random(pixels.shape) <= share
    white = random.random(pixels.shape) <= 0.5
    return np.where(broken, np.where(white, 255, 0), pixels).astype(np.uint8)
