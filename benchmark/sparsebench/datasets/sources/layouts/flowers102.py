"""Oxford 102 Flowers: ``jpg/image_<id>.jpg``, with classes in ``imagelabels.mat`` and splits in ``setid.mat``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....schema import DatasetError
from ...splits.splitting import SplitName
from ..folders import Entry
from .base import Layout, LayoutOptions, Listing, in_order, read_mat

_IDS: dict[SplitName, str] = {"train": "trnid", "val": "valid", "test": "tstid"}


def read(folder: Path, options: LayoutOptions) -> Listing:
    """List the images; classes are called by their published numbers, ``001`` to ``102``."""
    (labels,) = read_mat(folder / "imagelabels.mat", "labels")
    ids = read_mat(folder / "setid.mat", *_IDS.values())
    numbers = np.atleast_1d(labels).astype(np.int64)
    entries = []
    for part, images in zip(_IDS, ids, strict=True):
        for image in np.atleast_1d(images).astype(np.int64).tolist():
            if not 1 <= image <= len(numbers):
                raise DatasetError(
                    f"{folder / 'setid.mat'}: image {image} has no label in imagelabels.mat ({len(numbers)} labels)",
                    hint="get both files again",
                )
            entries.append(Entry(f"jpg/image_{image:05d}.jpg", f"{numbers[image - 1]:03d}", part))
    return in_order(sorted({entry.label for entry in entries}), entries)


FLOWERS102 = Layout(
    folders=("flowers-102",),
    needs=("jpg",),
    read=read,
    obtain="unpack 102flowers.tgz (robots.ox.ac.uk/~vgg/data/flowers/102) into DIR/flowers-102, and put imagelabels.mat"
    " and setid.mat beside its jpg/",
    torchvision="Flowers102",
)
