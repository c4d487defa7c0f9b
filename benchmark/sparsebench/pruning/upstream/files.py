"""Upstream data from files: an ``.npz`` of JPEG bytes, or a folder with ``train/`` and ``val/``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from PIL import Image

from ...datasets.images.decode import is_image, read_rgb
from ...datasets.sources.folders import list_images
from ...datasets.sources.jpegs_npz import JpegSplit, read_npz
from ...schema import DatasetError
from .images import Part

Parts = tuple[tuple[str, ...], Part, Part]
"""The names of the classes, the training split, the validation split."""


def open_npz(path: Path) -> Parts:
    """Read an ``.npz`` of JPEGs (see :func:`~sparsebench.pruning.upstream.open_upstream`).

    Raises
    ------
    DatasetError
        If it can't be read, an array is missing, or the arrays don't fit together.
    """
    classes, (train, val) = read_npz(path, ("train", "val"))
    return classes, _part(train), _part(val)


def _part(split: JpegSplit) -> Part:
    return Part(torch.from_numpy(split.labels), split.load)


def open_folder(path: Path) -> Parts:
    """List the images of ``train/`` and ``val/``, each with one folder per class, nested or not.

    Raises
    ------
    DatasetError
        If a folder is missing, a class has no images, or the two differ in classes.
    """
    for split in ("train", "val"):
        if not (path / split).is_dir():
            raise DatasetError(f"{path} has no {split}/ folder", "put each split's classes into train/ and val/")
    found = {split: list_images(path / split) for split in ("train", "val")}
    by_split = {split: {entry.label for entry in entries} for split, entries in found.items()}
    for split, other in (("train", "val"), ("val", "train")):
        lacking = sorted(by_split[other] - by_split[split])
        if lacking:
            raise DatasetError(
                f"{path / split} has no class {', '.join(map(repr, lacking[:10]))}, which {other}/ has",
                "every class needs train and val images",
            )
    classes = sorted(by_split["train"])
    number = {name: i for i, name in enumerate(classes)}

    def part(split: str) -> Part:
        entries = found[split]
        files = [entry.name for entry in entries]
        labels = torch.tensor([number[entry.label] for entry in entries])
        return Part(labels, partial(_read, path / split, files))

    return tuple(classes), part("train"), part("val")


def is_split(path: Path) -> bool:
    """Return whether a folder has ``train/`` and ``val/``."""
    return (path / "train").is_dir() and (path / "val").is_dir()


def open_images(path: Path) -> Parts:
    """Read all images in and below a folder, whatever they show, for calibration: no classes, nothing to validate on.

    Raises
    ------
    DatasetError
        If there is none.
    """
    files = sorted(str(f.relative_to(path)) for f in path.rglob("*") if is_image(f.name) and f.is_file())
    if not files:
        raise DatasetError(f"there is no image in or below {path}", "give a folder of photographs")
    read = partial(_read, path, files)
    return (), Part(torch.zeros(len(files), dtype=torch.int64), read), Part(torch.zeros(0, dtype=torch.int64), read)


def _read(root: Path, files: list[str], i: int) -> Image.Image:
    return read_rgb(root / files[i])
