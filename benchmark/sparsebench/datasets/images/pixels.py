"""What a transform does to pixels: crops, resizing, shifts and flips.

Everything happens on 8-bit pixels. The evaluation geometry equals torchvision's ``Resize`` and ``CenterCrop`` on Pillow
images pixel for pixel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...schema import Augment, Preprocess
from .resize import can_resize, resize_part

if TYPE_CHECKING:
    import torch

    from .decode import Picture

_RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def centre(image: Picture, preprocess: Preprocess) -> torch.Tensor:
    """Resize the short side and cut out the centre; see :meth:`.transforms.Transform.evaluate`."""
    size = preprocess.input_size
    if isinstance(image, Image.Image):
        width, height = _short_side(preprocess.resize_size, *image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), _RESAMPLING[preprocess.interpolation])
        left, top = round((width - size) / 2), round((height - size) / 2)
        return _to_tensor(image.crop((left, top, left + size, top + size)))
    new = _short_side(preprocess.resize_size, image.shape[2], image.shape[1])
    left, top = (round((side - size) / 2) for side in new)
    return _resized(image, new, (left, top, size, size), preprocess.interpolation)


def _short_side(short: int, width: int, height: int) -> tuple[int, int]:
    """Return the size at which the short side is the wanted one, the long side cut to whole pixels."""
    if min(width, height) == short:
        return width, height
    return (short, short * height // width) if width <= height else (short * width // height, short)


def random_resized(
    image: Picture, preprocess: Preprocess, scale: tuple[float, float], rng: np.random.Generator
) -> torch.Tensor:
    """Cut a random area out and resize it to the input size; uint8, shape (3, S, S)."""
    interpolation, size = preprocess.interpolation, preprocess.input_size
    if isinstance(image, Image.Image):
        left, top, width, height = random_area(image.size, scale, rng)
        cut = image.crop((left, top, left + width, top + height))
        return _to_tensor(cut.resize((size, size), _RESAMPLING[interpolation]))
    left, top, width, height = random_area((image.shape[2], image.shape[1]), scale, rng)
    area = image[:, top : top + height, left : left + width]
    return _resized(area, (size, size), (0, 0, size, size), interpolation)


def shift_and_flip(batch: torch.Tensor, augment: Augment, generators: list[np.random.Generator]) -> torch.Tensor:
    """Shift and flip views (B, 3, S, S) that are already cropped, each by its own generator."""
    size, k = batch.shape[-1], augment.shift
    moves = np.array([rng.integers(-k, k + 1, size=2) if k else (0, 0) for rng in generators])
    flips = np.array([augment.flip and rng.random() < 0.5 for rng in generators])
    rows = _reflect(np.arange(size) + moves[:, :1], size)
    columns = _reflect(np.arange(size) + moves[:, 1:], size)
    columns = np.where(flips[:, None], columns[:, ::-1], columns)
    return _gather(batch, rows, columns)


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
