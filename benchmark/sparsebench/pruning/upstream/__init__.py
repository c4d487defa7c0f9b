"""Upstream data for training backbones: an ``.npz`` of JPEGs, an image folder, or one of torchvision's data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...schema import DatasetError
from .batches import Batches, Normalise
from .files import is_split, open_folder, open_images, open_npz
from .images import Images, OnDemand, Part, Report, decode_all, in_batches
from .torchvision_sets import PREFIX, open_torchvision, parse

__all__ = [
    "MEMORY_LIMIT",
    "Batches",
    "Images",
    "Normalise",
    "Relabelled",
    "UpstreamData",
    "data_label",
    "in_batches",
    "open_upstream",
]

MEMORY_LIMIT = 4 * 2**30
"""Bytes of decoded images that are kept in memory by default; more are decoded anew each time they are used."""


@dataclass(frozen=True, eq=False)
class Relabelled:
    """Training images with random labels.

    Parameters
    ----------
    indices : Tensor, shape (m,), int64
        Which training images.
    labels, true : Tensor, shape (m,), int64
        The classes that they are trained on, and those that they are of.
    """

    indices: Tensor
    labels: Tensor
    true: Tensor


@dataclass(frozen=True)
class UpstreamData:
    """Images ``(n, H, W, 3)`` uint8 with int64 labels, for training and for validation.

    Images without labels, for calibration alone, have no classes and nothing to validate on. ``relabelled`` are
    training images whose labels in ``train_labels`` are random.
    """

    name: str
    classes: tuple[str, ...]
    train_images: Images
    train_labels: Tensor
    val_images: Images
    val_labels: Tensor
    relabelled: Relabelled | None = None


def open_upstream(
    source: str | Path,
    size: int,
    *,
    memory_limit: int = MEMORY_LIMIT,
    unlabelled: bool = False,
    report: Report | None = None,
) -> UpstreamData:
    """Read a data set to train backbones on.

    Parameters
    ----------
    source : str or Path
        An ``.npz`` file with ``classes`` and, for ``train`` and ``val``, ``<split>_jpeg`` (the images' bytes one
        after the other), ``<split>_offset`` (n + 1 positions) and ``<split>_label``; or a folder with ``train/`` and
        ``val/``, each with one folder of images per class; or ``torchvision:NAME:FOLDER``, a class of
        ``torchvision.datasets`` and where its files are.
    size : int
        Height and width in pixels to which images are resized (short side) and cropped (centre).
    memory_limit : int
        Bytes; if all images decoded would be more, they are decoded batch by batch as they are needed.
    unlabelled : bool
        Also take a folder without ``train/`` and ``val/``: all images in and below it, to calibrate on.
    report : callable, optional
        ``report(done, total)``, while images are decoded.

    Raises
    ------
    DatasetError
        If the source is none of these, an image can't be decoded, there are fewer than two classes, a label is none
        of them, or a class lacks images to train or to validate on.
    UnknownNameError
        If torchvision has no such data set.
    """
    text = str(source)
    if text.startswith(PREFIX):
        name, folder = parse(text)
        classes, train, val = open_torchvision(name, folder, report)
    else:
        path = Path(source).expanduser()
        name = path.stem if path.is_file() else path.absolute().name
        if path.is_dir() and unlabelled and not is_split(path):
            classes, train, val = open_images(path)
        elif path.is_dir():
            classes, train, val = open_folder(path)
        elif path.suffix.lower() == ".npz" and path.is_file():
            classes, train, val = open_npz(path)
        else:
            raise DatasetError(
                f"no upstream data at {source}",
                "give a .npz of JPEGs, a folder with train/ and val/, or torchvision:NAME:FOLDER",
            )
    if classes or not unlabelled:
        _check(text, classes, {"train": train, "val": val})
    images: list[OnDemand] | list[Tensor]
    if (len(train) + len(val)) * 3 * size * size > memory_limit:
        images = [OnDemand(part, size) for part in (train, val)]
    else:
        images = decode_all((train, val), size, report)
    return UpstreamData(name, classes, images[0], train.labels, images[1], val.labels)


def data_label(source: str | Path) -> str:
    """Return what a recorded command line shows of a source: names of files and folders, never where they lie."""
    text = str(source)
    if text.startswith(PREFIX):
        name, folder = parse(text)
        return f"{PREFIX}{name}:{folder.absolute().name}"
    return Path(source).expanduser().absolute().name


def _check(source: str, classes: tuple[str, ...], parts: dict[str, Part]) -> None:
    if len(classes) < 2:
        raise DatasetError(f"{source} has {len(classes)} class(es)", "training needs at least two")
    for split, part in parts.items():
        wrong = part.labels[(part.labels < 0) | (part.labels >= len(classes))]
        if len(wrong):
            raise DatasetError(
                f"{source}: the {split} label {int(wrong[0])} is none of the {len(classes)} classes",
                f"labels are 0 to {len(classes) - 1}, in the order of the classes",
            )
        counts = torch.bincount(part.labels, minlength=len(classes))
        lacking = [name for name, count in zip(classes, counts.tolist(), strict=True) if count == 0]
        if lacking:
            raise DatasetError(
                f"{source}: no {split} images of {', '.join(map(repr, lacking[:10]))}",
                "every class needs train and val images",
            )
