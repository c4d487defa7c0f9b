"""What computers do to images, and how strong it is at 32, 64 and 224 pixels."""

from __future__ import annotations

from ....extensions import Corruption

_WORK = "sparsebench.datasets.corruptions.digital"
_224 = 244 / 224  # the published code writes 244 where 224 was meant

CONTRAST = Corruption(
    name="contrast",
    summary="less contrast",
    family="digital",
    apply=f"{_WORK}:contrast",
    constants={32: (0.75, 0.5, 0.4, 0.3, 0.15), 64: (0.4, 0.3, 0.2, 0.1, 0.05), 224: (0.4, 0.3, 0.2, 0.1, 0.05)},
    place=40,
)
ELASTIC_TRANSFORM = Corruption(
    name="elastic_transform",
    summary="stretched and bent",
    family="digital",
    apply=f"{_WORK}:elastic_transform",
    constants={
        32: ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        64: ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        224: tuple(
            tuple(_224 * part for part in one)
            for one in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
        ),
    },
    place=41,
)
PIXELATE = Corruption(
    name="pixelate",
    summary="coarse pixels",
    family="digital",
    apply=f"{_WORK}:pixelate",
    constants={32: (0.95, 0.9, 0.85, 0.75, 0.65), 64: (0.9, 0.8, 0.7, 0.6, 0.5), 224: (0.6, 0.5, 0.4, 0.3, 0.25)},
    place=42,
)
JPEG_COMPRESSION = Corruption(
    name="jpeg_compression",
    summary="saved as JPEG of low quality",
    family="digital",
    apply=f"{_WORK}:jpeg_compression",
    constants={32: (80, 65, 58, 50, 40), 64: (65, 58, 50, 40, 25), 224: (25, 18, 15, 10, 7)},
    place=43,
)
