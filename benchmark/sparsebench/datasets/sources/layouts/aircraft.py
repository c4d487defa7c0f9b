"""FGVC-Aircraft by variant: ``data/images/<id>.jpg``, and ``data/images_variant_<part>.txt`` with id and class."""

from __future__ import annotations

from pathlib import Path

from ..folders import Entry
from .base import PARTS, Layout, LayoutOptions, Listing, bad_line, in_order, inside, read_lines


def read(folder: Path, options: LayoutOptions) -> Listing:
    """List the images; classes in the order of ``variants.txt``."""
    data = folder / "data"
    variants = read_lines(data / "variants.txt")
    entries = []
    for part in PARTS:
        path = data / f"images_variant_{part}.txt"
        for number, line in enumerate(read_lines(path), start=1):
            image, _, label = line.partition(" ")
            if label not in variants:
                raise bad_line(path, number, line, "an id and a variant of variants.txt")
            entries.append(Entry(f"data/images/{inside(image, path, number)}.jpg", label, part))
    return in_order(variants, entries)


AIRCRAFT = Layout(
    folders=("fgvc-aircraft-2013b",),
    needs=("data",),
    read=read,
    obtain="unpack fgvc-aircraft-2013b.tar.gz (robots.ox.ac.uk/~vgg/data/fgvc-aircraft) into DIR",
    torchvision="FGVCAircraft",
)
