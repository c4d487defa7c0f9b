"""A folder of class folders whose images are all for testing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...schema import Task
from ..base import Split
from ..images.decode import read_rgb
from ..images.scan import check_files
from .folders import list_test_images
from .imagefolder import find_root


def open_test_folder(
    task: Task, data_dir: Path | None = None, cache_dir: Path | None = None
) -> tuple[Split, tuple[str, ...]]:
    """Return the images of a folder, or of its ``test/`` where it has one, and their classes by index.

    Raises
    ------
    DatasetError
        If the folder is missing or unreadable, has no class folders, an empty one, or a broken image.
    """
    root = find_root(task, data_dir)
    entries = list_test_images(root)
    names = [entry.name for entry in entries]
    classes = tuple(sorted({entry.label for entry in entries}))
    number = {label: i for i, label in enumerate(classes)}
    split = Split(
        ids=tuple(names),
        labels=np.array([number[entry.label] for entry in entries], dtype=np.int64),
        hashes=tuple(check_files(root, names, cache_dir)),
        load=lambda i: read_rgb(root / names[i]),
        file=lambda i: root / names[i],
    )
    return split, classes
