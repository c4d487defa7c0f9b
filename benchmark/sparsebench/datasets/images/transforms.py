"""Images to network inputs: the published resize and centre crop, training augmentation, and normalisation.

Everything up to normalisation happens on 8-bit pixels, so that images travel at a quarter of the size of floats. The
evaluation geometry equals torchvision's ``Resize`` and ``CenterCrop`` on Pillow images pixel for pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...schema import Augment, Preprocess, Protocol, RegistryError, Task, digest
from .resize import can_resize, resize_part

if TYPE_CHECKING:
    import torch

    from .decode import Picture

TRANSFORM_VERSION = 1
"""Part of every transform's digest; raise it when equal settings give different pixels of a Pillow image.

What decoded pixels are resized with, which may differ from machine to machine, is :func:`.resize.resize_version`.
"""

PUBLISHED = Augment(crop="random_resized", scale=(0.08, 1.0), flip=True)
"""The augmentation of the published full finetuning protocol (torchvision's RandomResizedCrop and horizontal flip)."""

_RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True)
class Transform:
    """How a task's images become a backbone's input.

    Parameters
    ----------
    preprocess : Preprocess
        Size, crop and interpolation of the checkpoint, with the mean and standard deviation in force.
    augment : Augment or None
        Training-time augmentation; None trains on what evaluation sees.
    """

    preprocess: Preprocess
    augment: Augment | None = None

    @property
    def sha256(self) -> str:
        """Digest of all settings and of the code's version."""
        augment = None if self.augment is None else self.augment.model_dump(mode="json")
        return digest(
            {"version": TRANSFORM_VERSION, "preprocess": self.preprocess.model_dump(mode="json"), "augment": augment}
        )

    def evaluate(self, image: Picture) -> torch.Tensor:
        """Resize the short side and cut out the centre.

        Parameters
        ----------
        image : Image or Tensor
            Mode ``RGB``, any size; or uint8 pixels (3, H, W), which are resized to Pillow's pixels where
            :mod:`.resize` was built; else by torch, a pixel in a hundred differing by a grey level.

        Returns
        -------
        Tensor
            uint8, shape (3, S, S), S the input size.
        """
        if isinstance(image, Image.Image):
            return _to_tensor(self._centre(image))
        new = self._short_side(image.shape[2], image.shape[1])
        size = self.preprocess.input_size
        left, top = (round((side - size) / 2) for side in new)
        return _resized(image, new, (left, top, size, size), self.preprocess.interpolation)

    def train(self, image: Picture, rng: np.random.Generator) -> torch.Tensor:
        """Return an augmented view of an RGB image (or of its pixels); uint8, shape (3, S, S).

        Equal generators give equal views.
        """
        augment = self.augment or Augment()
        if augment.crop == "random_resized":
            view = self._random_resized(image, augment.scale, rng)
        else:
            view = self.evaluate(image)
        return self.vary(view.unsqueeze(0), [rng])[0]

    @property
    def varies_evaluated(self) -> bool:
        """Whether training views are made from the evaluation view alone (no random area), by :meth:`vary`."""
        return self.augment is None or self.augment.crop != "random_resized"

    def vary(self, batch: torch.Tensor, generators: list[np.random.Generator]) -> torch.Tensor:
        """Shift and flip views that are already cropped.

        Parameters
        ----------
        batch : Tensor
            uint8, shape (B, 3, S, S).
        generators : list of Generator
            One an image; each image's outcome depends on its own alone.

        Returns
        -------
        Tensor
            uint8, shape (B, 3, S, S).
        """
        augment = self.augment or Augment()
        if augment.shift == 0 and not augment.flip:
            return batch
        size, k = batch.shape[-1], augment.shift
        moves = np.array([rng.integers(-k, k + 1, size=2) if k else (0, 0) for rng in generators])
        flips = np.array([augment.flip and rng.random() < 0.5 for rng in generators])
        rows = _reflect(np.arange(size) + moves[:, :1], size)
        columns = _reflect(np.arange(size) + moves[:, 1:], size)
        columns = np.where(flips[:, None], columns[:, ::-1], columns)
        return _gather(batch, rows, columns)

    def normalise(
        self,
        batch: torch.Tensor,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        channels_last: bool = True,
    ) -> torch.Tensor:
        """Return ``(pixels / 255 - mean) / std``, computed in single precision.

        Parameters
        ----------
        batch : Tensor
            uint8, shape (B, 3, S, S).
        device : str or torch.device
            Where the result lives; the batch travels there as bytes.
        dtype : torch.dtype, optional
            Of the result; float32 by default.
        channels_last : bool
            The result's memory format.
        """
        import torch

        layout = torch.channels_last if channels_last else torch.contiguous_format
        pixels = batch.to(device).to(torch.float32, memory_format=layout, copy=True).div_(255)
        mean, std = (
            torch.tensor(values, device=pixels.device).view(1, 3, 1, 1)
            for values in (self.preprocess.mean, self.preprocess.std)
        )
        return pixels.sub_(mean).div_(std).to(dtype or torch.float32)

    def _centre(self, image: Image.Image) -> Image.Image:
        size = self.preprocess.input_size
        width, height = self._short_side(*image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), _RESAMPLING[self.preprocess.interpolation])
        left, top = round((width - size) / 2), round((height - size) / 2)
        return image.crop((left, top, left + size, top + size))

    def _short_side(self, width: int, height: int) -> tuple[int, int]:
        """Return the size at which the short side is the wanted one, the long side cut to whole pixels."""
        short = self.preprocess.resize_size
        if min(width, height) == short:
            return width, height
        return (short, short * height // width) if width <= height else (short * width // height, short)

    def _random_resized(self, image: Picture, scale: tuple[float, float], rng: np.random.Generator) -> torch.Tensor:
        interpolation, size = self.preprocess.interpolation, self.preprocess.input_size
        if isinstance(image, Image.Image):
            left, top, width, height = random_area(image.size, scale, rng)
            cut = image.crop((left, top, left + width, top + height))
            return _to_tensor(cut.resize((size, size), _RESAMPLING[interpolation]))
        left, top, width, height = random_area((image.shape[2], image.shape[1]), scale, rng)
        area = image[:, top : top + height, left : left + width]
        return _resized(area, (size, size), (0, 0, size, size), interpolation)


def random_area(
    size: tuple[int, int], scale: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw the rectangle of torchvision's RandomResizedCrop (Szegedy et al., 2015, section 6).

    Its area is a uniform share of the image's, its aspect ratio log-uniform in 3/4 to 4/3, its place uniform. After ten
    draws that don't fit, the largest centred rectangle whose ratio is within these bounds is taken.

    Parameters
    ----------
    size : tuple of int
        Width and height of the image in pixels.
    scale : tuple of float
        Smallest and largest share of the area.

    Returns
    -------
    tuple of int
        Left, top, width and height in pixels.
    """
    full_width, full_height = size
    low, high = (math.log(ratio) for ratio in _RATIO)
    for _ in range(_ATTEMPTS):
        area = full_width * full_height * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(low, high))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= full_width and 0 < height <= full_height:
            top = int(rng.integers(0, full_height - height + 1))
            left = int(rng.integers(0, full_width - width + 1))
            return left, top, width, height
    ratio = full_width / full_height
    width = full_width if ratio <= _RATIO[1] else round(full_height * _RATIO[1])
    height = full_height if ratio >= _RATIO[0] else round(full_width / _RATIO[0])
    return (full_width - width) // 2, (full_height - height) // 2, width, height


def resolve_transform(preprocess: Preprocess, task: Task, protocol: Protocol) -> Transform:
    """Return the transform of a checkpoint on a task under a protocol.

    Raises
    ------
    RegistryError
        If the protocol normalises by the task's statistics and the task has none.
    """
    if protocol.normalisation == "task":
        if task.mean is None or task.std is None:
            raise RegistryError(
                f"protocol {protocol.name!r} normalises by the task's statistics, but task {task.id!r} has none",
                hint="add mean and std to the task's YAML, or use a protocol with 'normalisation: checkpoint'",
            )
        preprocess = Preprocess(**(preprocess.model_dump() | {"mean": task.mean, "std": task.std}))
    augment = {"none": None, "task": task.augment, "published": PUBLISHED}[protocol.augment]
    return Transform(preprocess, augment)


def _resized(
    pixels: torch.Tensor, new: tuple[int, int], box: tuple[int, int, int, int], interpolation: str
) -> torch.Tensor:
    """Return a part (left, top, width, height) of uint8 pixels (3, H, W) resized to a width and height."""
    if new != (pixels.shape[2], pixels.shape[1]):
        if can_resize(interpolation):
            return resize_part(pixels, new, box, interpolation)
        pixels = _resized_whole(pixels, new, interpolation)
    left, top, width, height = box
    return pixels[:, top : top + height, left : left + width].contiguous()


def _resized_whole(pixels: torch.Tensor, new: tuple[int, int], interpolation: str) -> torch.Tensor:
    """Resize with torch, with antialiasing; nearest as Pillow does."""
    if interpolation == "nearest":
        image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        return _to_tensor(image.resize(new, Image.Resampling.NEAREST))
    import torch
    from torch.nn.functional import interpolate

    # channels last is the layout that the 8-bit kernels are fast in, and that JPEGs are decoded to
    batch = pixels.unsqueeze(0).contiguous(memory_format=torch.channels_last)
    return interpolate(batch, new[::-1], mode=interpolation, antialias=True, align_corners=False)[0]


def _to_tensor(image: Image.Image) -> torch.Tensor:
    import torch

    pixels = np.array(image, dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _reflect(index: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Map positions beyond the border back inside, the border pixel itself not repeated."""
    if size == 1:
        return np.zeros_like(index)
    folded = np.abs(index) % (2 * (size - 1))
    return np.minimum(folded, 2 * (size - 1) - folded)


def _gather(batch: torch.Tensor, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> torch.Tensor:
    """Return ``batch[b, :, rows[b, i], columns[b, j]]``, shape (B, 3, S, S)."""
    import torch

    each = torch.arange(len(batch))[:, None, None, None]
    channel = torch.arange(batch.shape[1])[None, :, None, None]
    return batch[each, channel, torch.from_numpy(rows)[:, None, :, None], torch.from_numpy(columns)[:, None, None, :]]
