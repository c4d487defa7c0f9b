"""Upstream data for training backbones: an ``.npz`` of JPEG bytes or an image folder, decoded once into memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..schema import DatasetError

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class UpstreamData:
    """Images ``(n, H, W, 3)`` uint8 with int64 labels, for training and for validation."""

    name: str
    classes: tuple[str, ...]
    train_images: Tensor
    train_labels: Tensor
    val_images: Tensor
    val_labels: Tensor


def open_upstream(path: Path, size: int) -> UpstreamData:
    """Read a data set to train backbones on.

    Parameters
    ----------
    path : Path
        An ``.npz`` file with ``classes`` and, for ``train`` and ``val``, ``<split>_jpeg`` (the images' bytes one
        after the other), ``<split>_offset`` (n + 1 positions) and ``<split>_label``; or a folder with ``train/`` and
        ``val/``, each with one folder of images a class.
    size : int
        Height and width in pixels to which images are resized (short side) and cropped (centre).

    Raises
    ------
    DatasetError
        If the path is neither, or an image can't be decoded, or there are fewer than two classes.
    """
    if path.is_dir():
        data = _open_folder(path, size)
    elif path.suffix == ".npz" and path.is_file():
        data = _open_npz(path, size)
    else:
        raise DatasetError(f"no upstream data at {path}", "give a .npz of JPEGs or a folder with train/ and val/")
    if len(data.classes) < 2:
        raise DatasetError(f"{path} has {len(data.classes)} class(es)", "training needs at least two")
    return data


def _decode(source: io.BytesIO | Path, size: int, name: str) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(source) as image:
            rgb = image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{name} can't be decoded: {error}", "replace or remove the image") from error
    if rgb.size != (size, size):
        scale = size / min(rgb.size)
        width, height = (max(size, round(side * scale)) for side in rgb.size)
        left, top = (width - size) // 2, (height - size) // 2
        rgb = rgb.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return np.asarray(rgb)


def _decode_all(count: int, decode: Callable[[int], npt.NDArray[np.uint8]], size: int) -> Tensor:
    images = np.empty((count, size, size, 3), dtype=np.uint8)

    def work(i: int) -> None:
        images[i] = decode(i)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(work, range(count), chunksize=256):
            pass
    return torch.from_numpy(images)


def _open_npz(path: Path, size: int) -> UpstreamData:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, Any] = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} is not a readable .npz: {error}", "get the file again") from error
    splits: dict[str, tuple[Tensor, Tensor]] = {}
    for split in ("train", "val"):
        try:
            jpeg, offset, label = (arrays[f"{split}_{part}"] for part in ("jpeg", "offset", "label"))
        except KeyError as error:
            raise DatasetError(f"{path} has no array {error}", "see the documentation of open_upstream") from error

        def decode(i: int, jpeg: Any = jpeg, offset: Any = offset, split: str = split) -> npt.NDArray[np.uint8]:
            return _decode(io.BytesIO(jpeg[offset[i] : offset[i + 1]].tobytes()), size, f"{path}: {split} image {i}")

        splits[split] = _decode_all(len(label), decode, size), torch.from_numpy(label.astype(np.int64))
    return UpstreamData(path.stem, tuple(map(str, arrays["classes"])), *splits["train"], *splits["val"])


def _open_folder(path: Path, size: int) -> UpstreamData:
    classes = sorted(p.name for p in (path / "train").glob("*") if p.is_dir())
    splits: dict[str, tuple[Tensor, Tensor]] = {}
    for split in ("train", "val"):
        files: list[Path] = []
        labels: list[int] = []
        for index, name in enumerate(classes):
            found = sorted(p for p in (path / split / name).glob("*") if p.suffix.lower() in _SUFFIXES)
            if not found:
                raise DatasetError(f"{path / split / name} holds no images", "every class needs train and val images")
            files += found
            labels += [index] * len(found)

        def decode(i: int, files: Sequence[Path] = files) -> npt.NDArray[np.uint8]:
            return _decode(files[i], size, str(files[i]))

        splits[split] = _decode_all(len(files), decode, size), torch.tensor(labels)
    return UpstreamData(path.name, tuple(classes), *splits["train"], *splits["val"])


class Batches:
    """Shuffled training batches with random shifts and flips, the same for the same seed and epoch.

    Parameters
    ----------
    images : Tensor, shape (n, H, W, 3), uint8
        Training images.
    labels : Tensor, shape (n,), int64
        Their classes.
    mean, std : tuple of float
        Normalisation of pixels in [0, 1].
    batch_size : int
        Images a batch; a last smaller batch is left out.
    seed : int
        Seed of order and augmentation.
    shift : int
        Largest shift in pixels; the border is reflected.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        normalise: Normalise,
        *,
        batch_size: int,
        seed: int,
        shift: int = 4,
    ) -> None:
        self.size = images.shape[1]
        self.padded = F.pad(images.permute(0, 3, 1, 2), (shift,) * 4, mode="reflect").permute(0, 2, 3, 1).contiguous()
        self.labels = labels
        self.normalise = normalise
        self.batch_size = batch_size
        self.seed = seed
        self.shift = shift

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def epoch(self, epoch: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches ``(images (B, 3, H, W) float, labels (B,))`` of a 0-based epoch."""
        generator = torch.Generator().manual_seed((self.seed << 20) + epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        pixels = torch.arange(self.size)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            index = order[start : start + self.batch_size]
            down, right = torch.randint(2 * self.shift + 1, (2, self.batch_size), generator=generator)
            flip = torch.rand(self.batch_size, generator=generator) < 0.5
            columns = right[:, None] + pixels
            columns = torch.where(flip[:, None], columns.flip(1), columns)
            rows = down[:, None] + pixels
            batch = self.padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]
            yield self.normalise(batch, device), self.labels[index].to(device)


@dataclass(frozen=True)
class Normalise:
    """Turn a uint8 batch ``(B, H, W, 3)`` into a network's input ``(B, 3, H, W)`` in channels_last memory."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, batch: Tensor, device: torch.device) -> Tensor:
        """Normalise on ``device``."""
        mean = torch.tensor(self.mean, device=device).mul(255).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=device).mul(255).view(1, 3, 1, 1)
        return (batch.to(device).permute(0, 3, 1, 2).float() - mean) / std
