"""``wordnet``: test images labelled by WordNet id, for networks whose own classes are WordNet ids.

A network's head numbers its classes in the order of their sorted ids. An image's class is the number of its id in that
order, also where the folder has images of some classes alone: the head is then tested on all of its classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import field_validator

from ...schema import DatasetError, MissingDataError, Strict, Task
from ..base import Split, TaskData
from .options import parse_options
from .published import data_place
from .wordnet_places import LAYOUTS, holds_images, read_place

_ID = re.compile(r"n\d{8}")


class WordNetOptions(Strict):
    """``classes``: the head's, as sorted WordNet ids; ``places``: names below the data folder."""

    classes: Literal["imagenet-1k"] | tuple[str, ...] = "imagenet-1k"
    places: tuple[str, ...] = ()

    @field_validator("classes")
    @classmethod
    def _sorted(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(value, str):
            for name in value:
                if not _ID.fullmatch(name):
                    raise ValueError(f"{name!r} is no WordNet id such as n01440764")
            if list(value) != sorted(set(value)):
                raise ValueError("the ids are to be sorted, each once: a head numbers its classes in this order")
        return value


def open_wordnet(task: Task, data_dir: Path | None = None, cache_dir: Path | None = None) -> TaskData:
    """Find a task's test images, and number their classes as the head does.

    Parameters
    ----------
    task : Task
        ``root``, where given, is the folder or ``.npz``, absolute or relative to ``data_dir``.
    data_dir : Path, optional
        Where data sets live, or the images themselves.
    cache_dir : Path, optional
        Where the results of the check are remembered.

    Raises
    ------
    DatasetError
        If nothing is there, an image is broken, or a WordNet id is none of the head's classes.
    """
    options = parse_options(WordNetOptions, task)
    classes = _imagenet_ids() if isinstance(options.classes, str) else options.classes
    found = read_place(_find(task, options, data_dir), cache_dir)
    number = {name: i for i, name in enumerate(classes)}
    others = sorted({wnid for wnid in found.wnids if wnid not in number})
    if others:
        example = found.names[found.wnids.index(others[0])]
        raise DatasetError(
            f"task {task.id!r}: {found.place}: {others[0]} (of {example}) is none of its {len(classes):,} classes"
            + (f", nor are {len(others) - 1} more" if len(others) > 1 else ""),
            hint="give the images of this task's classes alone",
        )
    order = np.array(sorted(range(len(found.names)), key=found.names.__getitem__), dtype=np.int64)
    labels = np.array([number[wnid] for wnid in found.wnids], dtype=np.int64)
    decoded = None if found.file is not None else "bytes of an image file"  # decoding them is worth a cache, too
    test = Split(found.names, labels, found.hashes, found.load, found.file, decoded).take(order)
    nothing = test.take(np.zeros(0, dtype=np.int64))
    return TaskData(task, classes, nothing, nothing, test, on_overlap="allow")


def _imagenet_ids() -> tuple[str, ...]:
    """Return the WordNet ids of ImageNet-1k's classes, in the order in which networks number them."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


def _find(task: Task, options: WordNetOptions, data_dir: Path | None) -> Path:
    """Return the folder or file that holds a task's images."""
    place = data_place(task, data_dir)
    candidates = [place] if task.root is not None else [*(place / name for name in options.places), place]
    for candidate in candidates:
        if holds_images(candidate):
            return candidate
    names = ", ".join(options.places) or "the folder itself"
    raise MissingDataError(
        f"task {task.id!r}: not found in {place.absolute()}: looked for {names}, and for images by WordNet id",
        hint=f"{task.source or 'get the images'}; give the folder with --data DIR ({LAYOUTS})",
    )
