"""Food-101: ``images/<class>/<number>.jpg``; ``meta/train.json`` and ``test.json`` list them by class."""

from __future__ import annotations

from pathlib import Path

from ....schema import DatasetError
from ...splits.splitting import SplitName
from ..folders import Entry
from .base import Layout, LayoutOptions, Listing, in_order, inside, read_json

_FILES: dict[SplitName, str] = {"train": "train.json", "test": "test.json"}


def read(folder: Path, options: LayoutOptions) -> Listing:
    """List the images; classes in alphabetical order."""
    entries: list[Entry] = []
    for part, name in _FILES.items():
        path = folder / "meta" / name
        table = read_json(path)
        if not isinstance(table, dict) or not all(isinstance(names, list) for names in table.values()):
            raise DatasetError(f"{path}: not a list of images by class", hint="unpack food-101.tar.gz again")
        for label, images in table.items():
            entries.extend(Entry(f"images/{inside(str(image), path, 1)}.jpg", label, part) for image in images)
    return in_order(sorted({entry.label for entry in entries}), entries)


FOOD101 = Layout(
    folders=("food-101",),
    needs=("images", "meta"),
    read=read,
    obtain="unpack food-101.tar.gz (data.vision.ee.ethz.ch/cvl/food-101.tar.gz) into DIR",
    torchvision="Food101",
)
