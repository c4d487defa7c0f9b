"""``imagefolder``: the user's own images, one folder per class, with or without a split of their own.

Three layouts are understood: ``train/`` and ``test/``, optionally with ``val/``, each holding class folders;
``train/`` and ``val/`` alone, where ``val/`` is the test set; and class folders directly, which are split by content.
Other spellings of the three are understood (``Training``, ``test_set``), and what is unclear is refused. Class folders
may be nested. Hidden files, and files that aren't images by their ending, are left out and counted in a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import field_validator

from ...schema import DatasetError, MissingDataError, RegistryError, Strict, Task
from ..base import Split, TaskData
from ..images.decode import read_rgb
from ..images.scan import check_files
from ..splits.splitting import SplitName, missing, split_by_content
from .folders import Entry, list_images
from .options import parse_options


class ImageFolderOptions(Strict):
    """``fractions``: the shares of train, val and test where the folder has no split of its own."""

    fractions: tuple[float, float, float] = (0.6, 0.15, 0.25)

    @field_validator("fractions")
    @classmethod
    def _shares(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not (min(value) >= 0 and abs(sum(value) - 1) <= 1e-6):
            raise ValueError("fractions are shares of train, val and test that sum to 1")
        if value[0] == 0 or value[2] == 0:
            raise ValueError("the shares of train and test must be positive")
        return value


def open_imagefolder(task: Task, data_dir: Path | None = None, cache_dir: Path | None = None) -> TaskData:
    """Find, check and split the images of a folder.

    Parameters
    ----------
    task : Task
        ``root`` is absolute, or relative to ``data_dir`` (else to the current folder).
    data_dir : Path, optional
        Where data sets live.
    cache_dir : Path, optional
        Where the results of the check are remembered.

    Raises
    ------
    DatasetError
        If the folder is missing or unreadable, has fewer than two classes, an empty class, a broken image, splits whose
        classes differ, or a class too small to be split.
    """
    options = parse_options(ImageFolderOptions, task)
    root = find_root(task, data_dir)
    entries = list_images(root)
    hashes = check_files(root, [entry.name for entry in entries], cache_dir)
    classes = tuple(sorted({entry.label for entry in entries}))
    number = {label: i for i, label in enumerate(classes)}
    labels = np.array([number[entry.label] for entry in entries], dtype=np.int64)
    own = [entry.split for entry in entries if entry.split is not None]
    splits = own or _assign(root, classes, hashes, labels.tolist(), options)

    def split(name: SplitName) -> Split:
        return _select(root, entries, labels, hashes, [i for i, s in enumerate(splits) if s == name])

    return TaskData(task, classes, split("train"), split("val"), split("test"), on_overlap="warn" if own else "error")


def find_root(task: Task, data_dir: Path | None) -> Path:
    """Return the task's folder.

    Raises
    ------
    RegistryError
        If the task names none.
    DatasetError
        If it isn't there.
    """
    if task.root is None:
        raise RegistryError(
            f"task {task.id!r}: loader {task.loader!r} needs a root", hint="add 'root: FOLDER' to its YAML"
        )
    root = (data_dir or Path.cwd()) / Path(task.root).expanduser()
    try:
        there = root.is_dir()
    except OSError as error:
        raise DatasetError(f"task {task.id!r}: {root}: {error.strerror}", hint="check the root's spelling") from error
    if root.is_file():
        raise DatasetError(
            f"task {task.id!r}: {root} is a file, not a folder of images", hint="unpack it, and give the folder"
        )
    if not there:
        raise MissingDataError(
            f"task {task.id!r}: no folder {root}", hint="correct the root, or say where data sets live with --data DIR"
        )
    return root


def _assign(
    root: Path, classes: Sequence[str], hashes: list[str], labels: list[int], options: ImageFolderOptions
) -> list[SplitName]:
    """Split by content, and see that each class got an image to learn from and one to be tested on."""
    splits = split_by_content(hashes, labels, options.fractions)
    needed: tuple[SplitName, ...] = ("train", "test")
    for name in needed:
        for label, count in missing(splits, labels, name).items():
            raise DatasetError(
                f"{root / classes[label]}: {count} image(s), too few to have one in train and one in test",
                hint="add images that differ from each other, or remove the class",
            )
    doubly = len(set(zip(hashes, labels, strict=True))) - len(set(hashes))
    if doubly:
        warnings.warn(f"{root}: {doubly} image(s) occur under more than one class", stacklevel=3)
    return splits


def _select(
    root: Path, entries: Sequence[Entry], labels: np.ndarray, hashes: Sequence[str], chosen: Sequence[int]
) -> Split:
    names = [entries[i].name for i in chosen]
    return Split(
        ids=tuple(names),
        labels=labels[list(chosen)],
        hashes=tuple(hashes[i] for i in chosen),
        load=lambda i: read_rgb(root / names[i]),
        file=lambda i: root / names[i],
    )
