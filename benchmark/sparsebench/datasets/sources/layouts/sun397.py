"""SUN397: ``<letter>/<class>/<file>``; the partitions' lists are ``Training_<nn>.txt`` and ``Testing_<nn>.txt``.

The lists (of the separate Partitions.zip) may lie in the data set's folder or in ``Partitions/`` in it. torchvision has
no split of this data set, and its own download is gone. Class folders, ``train/<class>/`` and ``test/<class>/``, are
read too.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ...splits.splitting import SplitName
from ..folders import Entry
from .base import Layout, Listing, PartitionOptions, bad_line, in_order, inside, read_lines

_LISTS: dict[SplitName, str] = {"train": "Training", "test": "Testing"}


def read(folder: Path, options: PartitionOptions) -> Listing:
    """List the images of a partition; classes in the order of their folders' names."""
    place = folder / "Partitions" if (folder / "Partitions").is_dir() else folder
    entries: list[Entry] = []
    for part, name in _LISTS.items():
        path = place / f"{name}_{options.partition:02d}.txt"
        for number, line in enumerate(read_lines(path), start=1):
            image = inside(line.removeprefix("/"), path, number)
            letter, _, label = str(PurePosixPath(image).parent).partition("/")
            if len(letter) != 1 or not label:
                raise bad_line(path, number, line, "/LETTER/CLASS/FILE")
            entries.append(Entry(image, label, part))
    return in_order(sorted({entry.label for entry in entries}), entries)


SUN397 = Layout(
    folders=("SUN397", "SUN397/splits_01"),
    needs=("Training_*.txt|Partitions",),
    read=read,
    options=PartitionOptions,
    obtain="its own download is gone (pytorch/vision issue 9348); get a copy, such as Hugging Face mteb/sun397 or"
    " Kaggle lash45/sun397-50-50, and make it DIR/SUN397/train/<class>/ and test/<class>/ by partition 01, or the"
    " original DIR/SUN397/a/abbey/... with Training_01.txt and Testing_01.txt of Partitions.zip beside the letters",
)
