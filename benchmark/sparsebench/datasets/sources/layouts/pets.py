"""Oxford-IIIT Pets: ``images/<id>.jpg``; ``annotations/trainval.txt`` and ``test.txt`` have id, class, species."""

from __future__ import annotations

from pathlib import Path

from ...splits.splitting import SplitName
from ..folders import Entry
from .base import Layout, LayoutOptions, Listing, bad_line, inside, read_lines

_FILES: dict[SplitName, str] = {"train": "trainval.txt", "test": "test.txt"}


def read(folder: Path, options: LayoutOptions) -> Listing:
    """List the images; classes in the order of their published numbers, called by the breed in the image's id."""
    entries: list[Entry] = []
    numbers: dict[str, int] = {}
    for part, name in _FILES.items():
        path = folder / "annotations" / name
        for number, line in enumerate(read_lines(path), start=1):
            if line.startswith("#"):
                continue
            fields = line.split()
            if len(fields) < 2 or not fields[1].isdigit() or "_" not in fields[0]:
                raise bad_line(path, number, line, "an image's id and the number of its class")
            breed = fields[0].rpartition("_")[0]
            if numbers.setdefault(breed, int(fields[1])) != int(fields[1]):
                raise bad_line(path, number, line, f"of class {numbers[breed]}, as other images of {breed} are")
            entries.append(Entry(f"images/{inside(fields[0], path, number)}.jpg", breed, part))
    return Listing(tuple(sorted(numbers, key=lambda breed: numbers[breed])), tuple(entries))


PETS = Layout(
    folders=("oxford-iiit-pet",),
    needs=("images", "annotations"),
    read=read,
    obtain="unpack images.tar.gz and annotations.tar.gz (robots.ox.ac.uk/~vgg/data/pets) into DIR/oxford-iiit-pet",
    torchvision="OxfordIIITPet",
)
