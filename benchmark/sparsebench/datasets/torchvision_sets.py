"""``torchvision``: CIFAR-10 and CIFAR-100 as torchvision keeps them, with a fixed tenth of train as val.

torchvision compares the files with their published checksums before it opens them. A copy of other bytes (made anew, or
a part) is accepted with ``checksums: false``, and then read by :mod:`.cifar_files`. Class folders
``cifar10/train/<class>/`` and ``cifar10/test/<class>/`` will do as well.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import StrictBool

from ..schema import DatasetError, Strict, Task
from .base import Split, TaskData
from .cifar_files import Images, folder_of, read_images
from .options import parse_options
from .published import VAL_FRACTION, class_folders, data_place, from_listing
from .splitting import split_by_content

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

    try:
        source: _Source = getattr(datasets, options.dataset)(root, train=train, download=False)
        return source
    except (RuntimeError, OSError, EOFError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise DatasetError(
            f"task {task.id!r}: {options.dataset} is not complete in {root.absolute()}: {reason}",
            hint=f"sparsebench fetch --task {task.id} gets it; or put torchvision's files there, or give --data DIR"
            + (
                "; for a copy of your own, with other bytes, a task file with options.checksums: false"
                if folder_of(root, options.dataset).is_dir()
                else ""
            ),
        ) from error


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
