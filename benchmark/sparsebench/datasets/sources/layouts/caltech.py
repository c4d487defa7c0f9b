"""Caltech-101 and Caltech-256: class folders without a split; the first images of each, by name, are for training.

The paper's rule, which needs no random numbers: 30 (60) training images per class in the order of the file names, the
rest for test. Caltech-101's background images are no class; Caltech-256's clutter is one.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pydantic import Field

from ....schema import DatasetError
from ..folders import Entry
from .base import Layout, LayoutOptions, Listing

_BACKGROUND = "BACKGROUND_Google"


class CaltechOptions(LayoutOptions):
    """``train``: training images per class; None: the paper's 30 (Caltech-101) or 60 (Caltech-256)."""

    train: int | None = Field(strict=True, default=None, gt=0)


def read(folder: Path, options: CaltechOptions, *, categories: str, train: int) -> Listing:
    """List the images; classes in the order of their folders' names."""
    count = options.train or train
    try:
        classes = sorted(f.name for f in (folder / categories).iterdir() if f.is_dir() and not f.name.startswith("."))
        images = {label: sorted(f.name for f in (folder / categories / label).glob("*.jpg")) for label in classes}
    except OSError as error:
        raise DatasetError(f"{folder / categories}: can't be listed: {error.strerror}") from error
    images.pop(_BACKGROUND, None)
    entries: list[Entry] = []
    for label, names in images.items():
        if len(names) <= count:
            raise DatasetError(
                f"{folder / categories / label}: {len(names)} .jpg images, of which {count} are for training and the"
                " rest for test",
                hint="unpack the archive again, or set options.train to fewer",
            )
        for i, name in enumerate(names):
            entries.append(Entry(f"{categories}/{label}/{name}", label, "train" if i < count else "test"))
    return Listing(tuple(images), tuple(entries))


CALTECH101 = Layout(
    folders=("caltech101",),
    needs=("101_ObjectCategories",),
    read=partial(read, categories="101_ObjectCategories", train=30),
    options=CaltechOptions,
    obtain="get caltech-101.zip (data.caltech.edu/records/20086) and unpack the 101_ObjectCategories.tar.gz in it into"
    " DIR/caltech101",
    torchvision="Caltech101",
)
CALTECH256 = Layout(
    folders=("caltech256",),
    needs=("256_ObjectCategories",),
    read=partial(read, categories="256_ObjectCategories", train=60),
    options=CaltechOptions,
    obtain="unpack 256_ObjectCategories.tar (data.caltech.edu/records/20087) into DIR/caltech256",
    torchvision="Caltech256",
)
