"""Published data sets in their own layout on disk, or as class folders; each is a loader of its name.

A data set lies where torchvision puts it below the data folder (``--data DIR``, and a task's ``root`` below that).
Instead of its own layout it may have class folders there, ``train/<class>/``, ``test/<class>/`` and, optionally,
``val/<class>/``. Where no validation images are published, a tenth of the training images is cut off for it: by
content, stratified, the same everywhere.

Annotations are read here and not by torchvision's classes: these import torch, keep the files' names private, refuse
a part of a data set, and don't say which file or line is wrong. A test asserts that both see the same.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...schema import DatasetError, MissingDataError, Task
from ..base import Split, TaskData
from ..checks import assert_numbers
from ..images.decode import is_image, read_rgb
from ..images.scan import check_files
from ..splits.splitting import SplitName, split_by_content
from .folders import list_images
from .layouts import Layout, Listing, layout_of
from .options import parse_options

VAL_FRACTION = 0.1
"""Share of the training images that is held out where no validation images are published."""


def open_published(task: Task, data_dir: Path | None = None, cache_dir: Path | None = None) -> TaskData:
    """Find a published data set, read its annotations, and check every image that they name.

    Parameters
    ----------
    task : Task
        ``loader`` names the data set; ``root``, where given, is the folder that it lies in, absolute or relative to
        ``data_dir``.
    data_dir : Path, optional
        Where data sets live.
    cache_dir : Path, optional
        Where the results of the check are remembered.

    Raises
    ------
    RegistryError
        If the task has an option that there isn't.
    DatasetError
        If the data set isn't there, an annotation is missing or damaged, or an image is missing or broken.
    """
    layout = layout_of(task.loader)
    options = parse_options(layout.options, task)
    place = data_place(task, data_dir)
    folder, own = find_folder(task, layout, place)
    listing = layout.read(folder, options) if own and layout.read is not None else class_folders(folder)
    return from_listing(task, folder, listing, cache_dir)


def data_place(task: Task, data_dir: Path | None) -> Path:
    """Return the folder that a task's data set lies in, or raise a :class:`DatasetError` where none is given."""
    if task.root is not None:
        return (data_dir or Path.cwd()) / Path(task.root).expanduser()
    if data_dir is None:
        raise MissingDataError(
            f"task {task.id!r}: no data folder given", hint="say where data sets live with --data DIR"
        )
    return data_dir


def find_folder(task: Task, layout: Layout, place: Path) -> tuple[Path, bool]:
    """Return the data set's folder, and whether it has the data set's own layout (else it has class folders).

    Raises
    ------
    DatasetError
        If there is neither; the message says what was looked for and how to get it.
    """
    names = (*layout.folders, ".") if task.root is not None else layout.folders
    if layout.read is not None:
        for name in names:
            if all(_holds(place / name, need) for need in layout.needs):
                return place / name, True
    for name in names:
        if (place / name / "train").is_dir():
            return place / name, False
    own = " and ".join(need.replace("|", " or ") for need in layout.needs)
    looked = f"{' or '.join(layout.folders)} with {own + ', or with ' if own else ''}train/ and test/"
    hint = layout.obtain + (f"; or get it with: sparsebench fetch --task {task.id}" if layout.torchvision else "")
    raise MissingDataError(f"task {task.id!r}: not found in {place.absolute()}: looked for {looked}", hint=hint)


def _holds(folder: Path, need: str) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in need.split("|"))


def class_folders(folder: Path) -> Listing:
    """List a folder of ``train/``, ``test/`` and perhaps ``val/`` with class folders in each."""
    entries = list_images(folder)
    return Listing(tuple(sorted({entry.label for entry in entries})), tuple(entries))


def from_listing(task: Task, folder: Path, listing: Listing, cache_dir: Path | None) -> TaskData:
    """Check the listed images and make the task of them; images are decoded when they are asked for.

    Raises
    ------
    DatasetError
        If an image is missing or broken, or a class has no images for training or for test.
    """
    entries = listing.entries
    counts = Counter(entry.split or "train" for entry in entries)
    found = {"trainval": counts["train"] + counts["val"], "test": counts["test"]}
    assert_numbers(task, len(listing.classes), found)  # before all images are read
    assert_classes(task, folder, listing)
    if task.sizes is None:
        _warn_of_others(task, folder, {entry.name for entry in entries})
    hashes = check_files(folder, [entry.name for entry in entries], cache_dir)
    number = {label: i for i, label in enumerate(listing.classes)}
    labels = np.array([number[entry.label] for entry in entries], dtype=np.int64)
    parts = with_val([entry.split or "train" for entry in entries], hashes, labels)

    def split(part: SplitName) -> Split:
        chosen = np.flatnonzero(np.array(parts) == part)
        names = [entries[i].name for i in chosen]
        return Split(
            ids=tuple(names),
            labels=labels[chosen],
            hashes=tuple(hashes[i] for i in chosen),
            load=lambda i: read_rgb(folder / names[i]),
            file=lambda i: folder / names[i],
        )

    return TaskData(
        task, listing.classes, split("train"), split("val"), split("test"), on_overlap="allow", published=True
    )


def _warn_of_others(task: Task, folder: Path, named: set[str]) -> None:
    """Warn of images beside those that the annotations name; where sizes are asserted, none is missed."""
    places = {name.rpartition("/")[0] for name in named}
    try:
        there = {
            f"{place}/{file.name}" if place else file.name for place in places for file in (folder / place).iterdir()
        }
    except OSError:
        return  # the check of the named images says which
    others = sorted(name for name in there - named if is_image(name.rpartition("/")[2]))
    if others:
        warnings.warn(
            f"task {task.id!r}: left out: {len(others)} image(s) that the annotations don't name, such as {others[0]}",
            stacklevel=2,
        )


def with_val(parts: list[SplitName], hashes: list[str], labels: npt.NDArray[np.int64]) -> list[SplitName]:
    """Return each image's split, a tenth of the training images turned to validation where there is none."""
    if "val" in parts:
        return parts
    train = [i for i, part in enumerate(parts) if part == "train"]
    cut = split_by_content([hashes[i] for i in train], labels[train].tolist(), (1 - VAL_FRACTION, VAL_FRACTION, 0.0))
    result = list(parts)
    for i, part in zip(train, cut, strict=True):
        result[i] = part
    return result


def assert_classes(task: Task, folder: Path, listing: Listing) -> None:
    """Raise a :class:`DatasetError` where a class has no images for training or for test."""
    by_part: dict[SplitName, set[str]] = {"train": set(), "test": set()}
    for entry in listing.entries:
        by_part.setdefault(entry.split or "train", set()).add(entry.label)
    for part in ("train", "test"):
        lacking = [label for label in listing.classes if label not in by_part[part]]
        if lacking:
            raise DatasetError(
                f"task {task.id!r}: {folder} has no {part} images of {', '.join(repr(name) for name in lacking[:10])}",
                hint="each class needs images for training and for test",
            )
