"""Describable Textures: ``images/<class>/<file>`` and, for each of ten partitions, ``labels/<part><partition>.txt``."""

from __future__ import annotations

from pathlib import Path

from ..folders import Entry
from .base import PARTS, Layout, Listing, PartitionOptions, bad_line, in_order, inside, read_lines


def read(folder: Path, options: PartitionOptions) -> Listing:
    """List the images of a partition; classes in alphabetical order."""
    entries = []
    for part in PARTS:
        path = folder / "labels" / f"{part}{options.partition}.txt"
        for number, line in enumerate(read_lines(path), start=1):
            label, slash, file = line.partition("/")
            if not (label and slash and file):
                raise bad_line(path, number, line, "CLASS/FILE")
            entries.append(Entry(f"images/{inside(line, path, number)}", label, part))
    return in_order(sorted({entry.label for entry in entries}), entries)


DTD = Layout(
    folders=("dtd/dtd", "dtd"),
    needs=("images", "labels"),
    read=read,
    options=PartitionOptions,
    obtain="unpack dtd-r1.0.1.tar.gz (robots.ox.ac.uk/~vgg/data/dtd) into DIR/dtd",
    torchvision="DTD",
)
