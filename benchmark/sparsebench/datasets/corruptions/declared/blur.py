"""Blur, and how strong it is at images of 32, 64 and 224 pixels."""

from __future__ import annotations

from ....extensions import Corruption

_WORK = "sparsebench.datasets.corruptions.blur"
_ZOOM = ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))

DEFOCUS_BLUR = Corruption(
    name="defocus_blur",
    summary="out of focus: the mean over a disk",
    family="blur",
    apply=f"{_WORK}:defocus_blur",
    constants={
        32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        64: ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        224: ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    },
    place=20,
)
GLASS_BLUR = Corruption(
    name="glass_blur",
    summary="behind frosted glass: pixels from nearby",
    family="blur",
    apply=f"{_WORK}:glass_blur",
    constants={
        32: ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        64: ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        224: ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    },
    place=21,
)
MOTION_BLUR = Corruption(
    name="motion_blur",
    summary="the camera moves along a line",
    family="blur",
    apply=f"{_WORK}:motion_blur",
    constants={
        32: ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        64: ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        224: ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    },
    place=22,
)
ZOOM_BLUR = Corruption(
    name="zoom_blur",
    summary="the camera moves towards the object",
    family="blur",
    apply=f"{_WORK}:zoom_blur",
    constants={32: _ZOOM, 64: _ZOOM, 224: ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))},
    place=23,
)
