"""Read an image file as upright 8-bit RGB, whatever its mode, or say why that can't be done.

EXIF orientation is applied. Transparent pixels are laid over white. 16-bit grey is scaled to 8 bits (not clipped).
CMYK is converted as Pillow does, without a colour profile. Of an animation the first frame counts.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ...schema import DatasetError
from .jpeg import is_plain_jpeg

if TYPE_CHECKING:
    import torch

    Picture: TypeAlias = Image.Image | torch.Tensor
    """An RGB image, or its uint8 pixels (3, H, W)."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff", ".gif"}
)
"""File name endings (in any case) taken for images; other files are ignored."""

_ALPHA = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_UNREADABLE = frozenset({"F", "LAB", "HSV"})


def is_image(name: str) -> bool:
    """Say whether a file name looks like an image's; hidden files don't."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an upright RGB copy of an opened image.

    Raises
    ------
    ValueError
        If its mode has no plain conversion to 8-bit RGB.
    """
    _refuse(image)
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _sixteen_bit(image).convert("RGB")
    if image.mode in _ALPHA or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _refuse(image: Image.Image) -> None:
    if image.mode in _UNREADABLE:
        raise ValueError(f"mode {image.mode} has no plain conversion to 8-bit RGB")
    if min(image.size) == 0:
        raise ValueError("it has no pixels")


def _sixteen_bit(image: Image.Image) -> Image.Image:
    """Scale 0 to 65,535 to 0 to 255; Pillow itself would clip."""
    values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def read_rgb(path: Path) -> Image.Image:
    """Decode an image file to RGB.

    Raises
    ------
    DatasetError
        If it can't be read; the message names the file.
    """
    return _decoded(path, path)


def rgb_of(data: bytes, name: str) -> Image.Image:
    """Decode an image's bytes to RGB; ``name`` says in the error of :func:`read_rgb` where they are from."""
    return _decoded(io.BytesIO(data), name)


def _decoded(source: Path | io.BytesIO, name: Path | str) -> Image.Image:
    try:
        with Image.open(source) as image:
            image.load()
            return to_rgb(image)
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise _explain(name, error) from error


def decode_bytes(data: bytes, name: str) -> Image.Image:
    """Decode an image file's bytes to RGB.

    Raises
    ------
    DatasetError
        If they can't be decoded; the message names ``name``.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return to_rgb(image)
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise undecodable(name, error) from error


def undecodable(name: str, error: Exception) -> DatasetError:
    """Return the error that says which image can't be decoded, and why."""
    reason = "not an image that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
    return DatasetError(f"{name} can't be decoded: {reason}", "replace or remove the image")


def read_pixels(path: Path) -> Picture:
    """Decode an image file to uint8 pixels, shape (3, H, W), JPEGs with torchvision's decoder.

    It is libjpeg-turbo's, as Pillow's is, without the copies; most files aren't even opened by Pillow. What it doesn't
    decode alike (other formats, CMYK, an orientation) goes through :func:`read_rgb`.

    Raises
    ------
    DatasetError
        If it can't be read; the message names the file.
    """
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    try:
        data = path.read_bytes()
        if is_plain_jpeg(data) or _is_upright_jpeg(data):
            pixels: torch.Tensor = decode_jpeg(
                torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB
            )
            return pixels
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise _explain(path, error) from error
    return torch.from_numpy(np.array(read_rgb(path))).permute(2, 0, 1)


def _is_upright_jpeg(data: bytes) -> bool:
    """Say whether Pillow sees a grey or RGB JPEG, as it is stored."""
    with Image.open(io.BytesIO(data)) as image:
        plain = image.format == "JPEG" and image.mode in ("RGB", "L")
        return plain and image.getexif().get(ExifTags.Base.Orientation, 1) == 1


def check_image(path: Path) -> str:
    """Read a file once, decode it as cheaply as shows that it is whole, and return the sha256 of its bytes.

    Pillow's ``verify`` doesn't notice a truncated JPEG, so all pixels are decoded, JPEGs at an eighth of their size.

    Raises
    ------
    DatasetError
        If it can't be read, is empty, truncated or damaged, or is too large for Pillow's limit.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _explain(path, error) from error
    return check_data(data, path)


def check_data(data: bytes, name: Path | str) -> str:
    """Check an image's bytes as :func:`check_image` does a file; ``name`` says in errors where they are from."""
    try:
        if not data:
            raise ValueError("the file is empty")
        with Image.open(io.BytesIO(data)) as image:
            _refuse(image)
            if image.format == "JPEG":
                image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
            image.load()
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise _explain(name, error) from error
    return hashlib.sha256(data).hexdigest()


def _explain(path: Path | str, error: Exception) -> DatasetError:
    if isinstance(error, PermissionError):
        return DatasetError(f"{path}: permission denied", hint="make the file readable")
    if isinstance(error, FileNotFoundError):
        return DatasetError(f"{path}: not found", hint="was it removed, or is it a dangling link?")
    if isinstance(error, Image.DecompressionBombError):
        return DatasetError(f"{path}: too many pixels to be decoded safely", hint="reduce the image")
    reason = " ".join(str(error).split()).replace(str(path), "the file") or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "not an image that Pillow knows"
    return DatasetError(f"{path}: broken image: {reason}", hint="replace the file or remove it")
