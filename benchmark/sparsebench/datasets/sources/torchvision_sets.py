"""``torchvision``: CIFAR-10 and CIFAR-100 as torchvision keeps them, with a fixed tenth of train as val.

torchvision compares the files with their published checksums before it opens them. A copy of other bytes (made anew, or
a part) is accepted with ``checksums: false``, and then read by :mod:`.cifar_files`. Class folders
``cifar10/train/<class>/`` and ``cifar10/test/<class>/`` will do as well.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import StrictBool

from ...schema import DatasetError, DifferentDataError, MissingDataError, Strict, Task
from ..base import Split, TaskData
from ..splits.splitting import split_by_content
from .cifar_files import Images, folder_of, read_images
from .options import parse_options
from .published import VAL_FRACTION, class_folders, data_place, from_listing

OBTAIN = "unpack cifar-10-python.tar.gz or cifar-100-python.tar.gz (www.cs.toronto.edu/~kriz) into DIR"


class TorchvisionOptions(Strict):
    """``dataset``: torchvision's class; ``checksums``: insist on the published ones."""

    dataset: Literal["CIFAR10", "CIFAR100"]
    checksums: StrictBool = True


class _Source(Protocol):
    """What is read of torchvision's class, and of :class:`Images`."""

    data: npt.NDArray[np.uint8]
    targets: list[int]
    classes: list[str]


def open_torchvision(task: Task, data_dir: Path | None = None, cache_dir: Path | None = None) -> TaskData:
    """Read the data set from ``task.root`` (absolute, or relative to ``data_dir``), else from ``data_dir``.

    Raises
    ------
    DatasetError
        If it isn't there; the message says where it was looked for and how to get it.
    """
    options = parse_options(TorchvisionOptions, task)
    root = data_place(task, data_dir)
    folders = root / options.dataset.lower()
    if (folders / "train").is_dir() and not folder_of(root, options.dataset).is_dir():
        return from_listing(task, folders, class_folders(folders), cache_dir)
    train, test = (_read(task, options, root, part) for part in (True, False))
    hashes = [_pixel_hash(image) for image in train.data]
    splits = np.array(split_by_content(hashes, list(train.targets), (1 - VAL_FRACTION, VAL_FRACTION, 0.0)))
    return TaskData(
        task,
        tuple(train.classes),
        train=_split("train", train, np.flatnonzero(splits == "train")),
        val=_split("train", train, np.flatnonzero(splits == "val")),
        test=_split("test", test, np.arange(len(test.targets))),
        on_overlap="allow",
        published=True,
    )


def _read(task: Task, options: TorchvisionOptions, root: Path, train: bool) -> _Source | Images:
    if not options.checksums:
        return read_images(root, options.dataset, train)
    from torchvision import datasets

    kind = getattr(datasets, options.dataset)
    _check_files(task, options, root, kind)
    try:
        source: _Source = kind(root, train=train, download=False)
        return source
    except (RuntimeError, OSError, EOFError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise DatasetError(
            f"task {task.id!r}: {options.dataset} can't be read from {root.absolute()}: {reason}", hint=_obtain(task)
        ) from error


def _check_files(task: Task, options: TorchvisionOptions, root: Path, kind: Any) -> None:
    """See that all files are there, with their published checksums (MD5)."""
    folder = folder_of(root, options.dataset)
    published = dict([*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])])
    missing = [name for name in published if not (folder / name).is_file()]
    if missing:
        what = "no folder " if not folder.is_dir() else f"{', '.join(missing)} missing from "
        raise MissingDataError(
            f"task {task.id!r}: {options.dataset} is not complete: {what}{folder.absolute()}", hint=_obtain(task)
        )
    for name, expected in published.items():
        found = _md5(folder / name)
        if found != expected:
            raise DifferentDataError(
                f"task {task.id!r}: {folder / name} has checksum {found}, published is {expected}",
                hint="delete the folder and fetch it anew; to accept a copy of your own, write a task file with"
                f" options: {{dataset: {options.dataset}, checksums: false}}",
            )


def _obtain(task: Task) -> str:
    return f"sparsebench fetch --task {task.id} gets it; or put torchvision's files there, or give --data DIR"


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DifferentDataError(f"{path}: can't be read: {reason}", hint="check that you may read it") from error


def _pixel_hash(image: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def _split(part: str, source: _Source | Images, chosen: npt.NDArray[np.intp]) -> Split:
    images: npt.NDArray[np.uint8] = source.data[chosen]
    return Split(
        ids=tuple(f"{part}/{i:05d}" for i in chosen),
        labels=np.asarray(source.targets, dtype=np.int64)[chosen],
        hashes=tuple(_pixel_hash(image) for image in images),
        load=lambda i: Image.fromarray(images[i]),
    )
