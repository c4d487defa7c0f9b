"""Noise, and how strong it is at images of 32, 64 and 224 pixels."""

from __future__ import annotations

from ....extensions import Corruption

_WORK = "sparsebench.datasets.corruptions.noise"

GAUSSIAN_NOISE = Corruption(
    name="gaussian_noise",
    summary="normal noise on every value",
    family="noise",
    apply=f"{_WORK}:gaussian_noise",
    constants={
        32: (0.04, 0.06, 0.08, 0.09, 0.10),
        64: (0.04, 0.08, 0.12, 0.15, 0.18),
        224: (0.08, 0.12, 0.18, 0.26, 0.38),
    },
    place=10,
)
SHOT_NOISE = Corruption(
    name="shot_noise",
    summary="few photons: Poisson noise",
    family="noise",
    apply=f"{_WORK}:shot_noise",
    constants={32: (500, 250, 100, 75, 50), 64: (250, 100, 50, 30, 15), 224: (60, 25, 12, 5, 3)},
    place=11,
)
IMPULSE_NOISE = Corruption(
    name="impulse_noise",
    summary="values that are black or white",
    family="noise",
    apply=f"{_WORK}:impulse_noise",
    constants={
        32: (0.01, 0.02, 0.03, 0.05, 0.07),
        64: (0.01, 0.02, 0.05, 0.08, 0.14),
        224: (0.03, 0.06, 0.09, 0.17, 0.27),
    },
    place=12,
)
