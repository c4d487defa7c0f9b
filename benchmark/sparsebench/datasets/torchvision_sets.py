"""``torchvision``: data sets that torchvision reads. Now CIFAR-10 and CIFAR-100, with a fixed tenth of train as val.

torchvision compares the files with their published checksums before it opens them, and downloads only when the task
says ``download: true``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..schema import DatasetError, Strict, Task
from .base import Split, TaskData
from .options import parse_options
from .splitting import split_by_content

VAL_FRACTION = 0.1


class TorchvisionOptions(Strict):
    """``dataset``: torchvision's class; ``download``: fetch it when it isn't there."""

    dataset: Literal["CIFAR10", "CIFAR100"]
    download: bool = False


def open_torchvision(task: Task, data_dir: Path | None = None, cache_dir: Path | None = None) -> TaskData:
    """Read the data set from ``task.root`` (absolute, or relative to ``data_dir``), else from ``data_dir``.

    Raises
    ------
    DatasetError
        If it isn't there; the message says where it was looked for and how to get it.
    """
    options = parse_options(TorchvisionOptions, task)
    root = _root(task, data_dir)
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
    )


def _root(task: Task, data_dir: Path | None) -> Path:
    if task.root is not None:
        return (data_dir or Path.cwd()) / Path(task.root).expanduser()
    if data_dir is None:
        raise DatasetError(f"task {task.id!r}: no data folder given", hint="say where data sets live with --data DIR")
    return data_dir


def _read(task: Task, options: TorchvisionOptions, root: Path, train: bool) -> Any:
    from torchvision import datasets

    try:
        return getattr(datasets, options.dataset)(root, train=train, download=options.download)
    except (RuntimeError, OSError, EOFError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise DatasetError(
            f"task {task.id!r}: {options.dataset} is not complete in {root.absolute()}: {reason}",
            hint="put torchvision's files there, give another folder with --data DIR, or set options.download: true",
        ) from error


def _pixel_hash(image: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def _split(part: str, source: Any, chosen: npt.NDArray[np.intp]) -> Split:
    images: npt.NDArray[np.uint8] = source.data[chosen]
    return Split(
        ids=tuple(f"{part}/{i:05d}" for i in chosen),
        labels=np.asarray(source.targets, dtype=np.int64)[chosen],
        hashes=tuple(_pixel_hash(image) for image in images),
        load=lambda i: Image.fromarray(images[i]),
    )
