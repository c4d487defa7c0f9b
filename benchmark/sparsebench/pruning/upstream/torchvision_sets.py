"""Upstream data from torchvision: any of its image-classification sets that has splits to train and to validate on."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...datasets.images.decode import to_rgb, undecodable
from ...schema import DatasetError, UnknownNameError
from .files import Parts
from .images import Part, Report, on_threads

PREFIX = "torchvision:"

_SPLITS = {
    "train": ("train", "trainval", "train-standard"),
    "val": ("val", "valid", "test"),
}
"""The names that torchvision's data sets give to the two splits; the first that a data set knows is taken."""

_FOLDER_INSTEAD = "give a folder with train/ and val/ instead"


def parse(spec: str) -> tuple[str, Path]:
    """Return the class and the folder of ``torchvision:NAME:FOLDER``.

    Raises
    ------
    DatasetError
        If a part is missing.
    """
    name, _, folder = spec.removeprefix(PREFIX).partition(":")
    if not name or not folder:
        raise DatasetError(f"{spec!r} is not torchvision:NAME:FOLDER", "for example torchvision:CIFAR10:data/cifar")
    return name, Path(folder).expanduser()


def open_torchvision(name: str, folder: Path, report: Report | None = None) -> Parts:
    """Open a data set of torchvision's; nothing is downloaded.

    Parameters
    ----------
    name : str
        Its class in ``torchvision.datasets``.
    folder : Path
        Where its files are, as torchvision wants them.
    report : callable, optional
        Progress where labels can only be had by decoding the images.

    Raises
    ------
    UnknownNameError
        If torchvision has no such data set.
    DatasetError
        If it isn't an image-classification set with two splits, or its files aren't complete.
    """
    reader = _reader(name)
    if not folder.is_dir():
        raise DatasetError(f"torchvision {name}: there is no folder {folder}", "say where torchvision's files are")
    sets = {split: _open(reader, name, folder, split) for split in ("train", "val")}
    labels = {split: _labels(dataset, f"{name} {split}", report) for split, dataset in sets.items()}
    listed = [list(getattr(dataset, "classes", ())) for dataset in sets.values()]
    if listed[0] != listed[1]:
        raise DatasetError(
            f"torchvision {name}: its training and validation images are not of the same classes", _FOLDER_INSTEAD
        )
    classes = tuple(", ".join(c) if isinstance(c, tuple) else str(c) for c in getattr(sets["train"], "classes", ()))
    if not classes:
        numbers, positions = torch.cat(list(labels.values())).unique(return_inverse=True)
        classes = tuple(map(str, numbers.tolist()))
        labels = dict(zip(labels, positions.split([len(row) for row in labels.values()]), strict=True))
    train, val = (Part(labels[split], partial(_load, sets[split], f"{name} {split}")) for split in ("train", "val"))
    return classes, train, val


def _reader(name: str) -> Any:
    from torchvision import datasets

    readers = {key: getattr(datasets, key) for key in datasets.__all__ if inspect.isclass(getattr(datasets, key))}
    known = [key for key, reader in readers.items() if _has_splits(reader)]
    if name not in readers:
        raise UnknownNameError("torchvision data set", name, known)
    if name not in known:
        raise DatasetError(f"torchvision's {name} is not a set of classes with train and val splits", _FOLDER_INSTEAD)
    return readers[name]


def _has_splits(reader: Any) -> bool:
    parameters = dict(inspect.signature(reader).parameters)
    parameters.pop("root", None)
    rest = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    needed = [p for p in parameters.values() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    return not needed and bool({"train", "split"} & set(parameters)) and (rest or "target_transform" in parameters)


def _open(reader: Any, name: str, folder: Path, split: str) -> Any:
    parameters = inspect.signature(reader).parameters
    options = {"download": False} if "download" in parameters else {}
    values = (split == "train",) if "train" in parameters else _SPLITS[split]
    for value in values:
        try:
            return reader(folder, **options, **{"train" if "train" in parameters else "split": value})
        except Exception as error:  # readers of missing or damaged files raise nearly anything
            if "for argument split" not in str(error):  # what torchvision says of a split that it doesn't know
                raise _incomplete(name, folder, error) from error
    raise DatasetError(f"torchvision's {name} has none of the splits {', '.join(_SPLITS[split])}", _FOLDER_INSTEAD)


def _incomplete(name: str, folder: Path, error: Exception) -> DatasetError:
    reason = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    return DatasetError(
        f"torchvision {name} can't be opened in {folder}: {reason}",
        f"put its files there as torchvision.datasets.{name} wants them",
    )


def _labels(dataset: Any, name: str, report: Report | None) -> Tensor:
    """Return all labels: those that the data set lists, if they are its items' labels, else each item's."""
    if len(dataset) == 0:
        raise DatasetError(f"torchvision {name} has no images", "put all of its files into the folder")
    probed = sorted({0, len(dataset) // 2, len(dataset) - 1})
    items = [_item(dataset, name, i)[1] for i in probed]
    for attribute in ("targets", "labels", "_labels"):
        listed = getattr(dataset, attribute, None)
        if listed is None or len(listed) != len(dataset):
            continue
        row = np.asarray(listed)
        if row.ndim == 1 and row.dtype.kind in "iu" and row[probed].tolist() == items:
            return torch.from_numpy(row.astype(np.int64))
    return torch.tensor(on_threads(lambda i: _item(dataset, name, i)[1], range(len(dataset)), report))


def _item(dataset: Any, name: str, i: int) -> tuple[Image.Image, int]:
    try:
        item = dataset[i]
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise undecodable(f"torchvision {name} image {i}", error) from error
    try:
        image, label = item
        label = int(label)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DatasetError(
            f"torchvision {name}: item {i} is not an image and the number of its class", _FOLDER_INSTEAD
        ) from error
    if not isinstance(image, Image.Image):
        raise DatasetError(f"torchvision {name} holds no images but {type(image).__name__}", _FOLDER_INSTEAD)
    return image, label


def _load(dataset: Any, name: str, i: int) -> Image.Image:
    image, _ = _item(dataset, name, i)
    try:
        return to_rgb(image)
    except (OSError, ValueError) as error:
        raise undecodable(f"torchvision {name} image {i}", error) from error
