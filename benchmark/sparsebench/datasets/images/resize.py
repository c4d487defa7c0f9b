"""Part of a resized 8-bit image: Pillow's pixels, bit for bit, but only the columns and rows that are wanted.

The compiled ``csrc/`` does it, where it was built. Pillow and torch resize the whole image, and the crop comes after.
"""

from __future__ import annotations

import ctypes
import warnings
from ctypes import POINTER, Structure, c_char_p, c_int, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...common.native.build import RESIZE
from ...common.native.loading import load
from .resampling import SUPPORT, Order, Size, axis_weights, columns_first, far_shorter

if TYPE_CHECKING:
    import torch

ABI = 1
VERSION = "compiled resize 1"
"""Raise it when the compiled resize gives other pixels."""

PATH = RESIZE.path

_ORDERS: tuple[Order, ...] = (far_shorter, columns_first)
_PROBES: tuple[tuple[Size, Size], ...] = (((9, 41), (7, 9)), ((41, 35), (22, 13)), ((13, 11), (29, 24)))


class _Axis(Structure):
    _fields_ = [
        *((name, c_int32) for name in ("size", "count", "taps")),
        *((name, c_void_p) for name in ("first", "weights")),
    ]


@dataclass(frozen=True)
class _Weights:
    struct: _Axis
    arrays: tuple[npt.NDArray[np.int32], ...]  # what the structure points into


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled resize, or None where it was not built or was built for another version."""
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "spb_resize_abi": (c_int, []),
        "spb_resize_name": (c_char_p, [c_int]),
        "spb_resize_usable": (c_int, [c_int]),
        "spb_resize_run": (c_int, [c_int, c_void_p, c_int64, POINTER(_Axis), POINTER(_Axis), c_int, c_void_p]),
    }
    lib = load(PATH, signatures)
    return lib if lib is not None and lib.spb_resize_abi() == ABI else None


@cache
def instruction_sets() -> dict[str, int]:
    """Return the number of each instruction set that this processor has, by name, best first."""
    lib, found, index = library(), {}, 0
    while lib is not None and (name := lib.spb_resize_name(index)) is not None:
        if lib.spb_resize_usable(index):
            found[name.decode()] = index
        index += 1
    return found


@cache
def order() -> Order | None:
    """Return which axis the installed Pillow resizes first, found by trying; None if there is no compiled resize.

    Where the pixels are Pillow's in no order, a warning says so, and the compiled resize isn't used.
    """
    if not instruction_sets():
        return None
    for candidate in _ORDERS:
        if all(_agrees(candidate, *probe, name) for probe in _PROBES for name in SUPPORT):
            return candidate
    warnings.warn(
        f"the compiled resize and Pillow {version('pillow')} give different pixels: torch resizes", stacklevel=2
    )
    return None


def _agrees(candidate: Order, size: Size, new: Size, interpolation: str) -> bool:
    import torch

    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(pixels).resize(new, Image.Resampling[interpolation.upper()]))
    ours = _run(torch.from_numpy(pixels), new, (0, 0, *new), interpolation, candidate(size, new))
    return np.array_equal(ours.permute(1, 2, 0).numpy(), theirs)


def can_resize(interpolation: str) -> bool:
    """Return whether :func:`resize_part` is there, and does this interpolation."""
    return interpolation in SUPPORT and order() is not None


def resize_version() -> str:
    """Return what resizes decoded pixels, and its version: what must be equal for equal pixels."""
    return f"torch {version('torch')}" if order() is None else VERSION


def resize_part(
    pixels: torch.Tensor,
    new: Size,
    box: tuple[int, int, int, int],
    interpolation: str,
    isa: str | None = None,
) -> torch.Tensor:
    """Resize an image and cut out a part; only where :func:`can_resize` says so.

    Parameters
    ----------
    pixels : Tensor
        uint8, shape (3, H, W), on the CPU. Read in place where the channels lie side by side, as in a decoded JPEG and
        parts of it, else copied.
    new : tuple of int
        Width and height to resize to.
    box : tuple of int
        Left, top, width and height of the wanted part of the resized image.
    interpolation : str
        ``bilinear`` or ``bicubic``.
    isa : str or None
        A name of :func:`instruction_sets`, the best by default; no pixel depends on it.

    Returns
    -------
    Tensor
        uint8, contiguous.
    """
    rule = order()
    if rule is None:
        raise RuntimeError("the compiled resize can't be used here")
    left, top, width, height = box
    if not (0 <= left < left + width <= new[0] and 0 <= top < top + height <= new[1]):
        raise ValueError(f"{box} is not a part of {new[0]} x {new[1]} pixels")
    if str(pixels.dtype) != "torch.uint8" or pixels.dim() != 3 or pixels.shape[0] != 3 or pixels.numel() == 0:
        raise ValueError(f"{pixels.dtype} of shape {tuple(pixels.shape)} is not an RGB image")
    image = pixels.permute(1, 2, 0)
    if image.stride()[1:] != (3, 1) or image.stride(0) < 3 * image.shape[1]:
        image = image.contiguous()
    rows_first = rule((image.shape[1], image.shape[0]), new)
    return _run(image, new, box, interpolation, rows_first, isa)


def _run(
    image: torch.Tensor,
    new: Size,
    box: tuple[int, int, int, int],
    interpolation: str,
    rows_first: bool,
    isa: str | None = None,
) -> torch.Tensor:
    import torch

    lib, sets = library(), instruction_sets()
    index = next(iter(sets.values())) if isa is None else sets[isa]
    if lib is None:
        raise RuntimeError("the compiled resize is gone")
    left, top, width, height = box
    columns = _axis(image.shape[1], new[0], left, width, interpolation)
    rows = _axis(image.shape[0], new[1], top, height, interpolation)
    output = torch.empty((3, height, width), dtype=torch.uint8)
    if lib.spb_resize_run(
        index, image.data_ptr(), image.stride(0), columns.struct, rows.struct, rows_first, output.data_ptr()
    ):
        raise MemoryError("no memory to resize an image")
    return output


@lru_cache(maxsize=2048)
def _axis(size: int, new: int, start: int, count: int, interpolation: str) -> _Weights:
    """Return an axis's weights; photographs come in few sizes, and areas cut from them in some hundreds."""
    first, weights = axis_weights(size, new, start, count, interpolation)
    struct = _Axis(size, count, weights.shape[1], first.ctypes.data, weights.ctypes.data)
    return _Weights(struct, (first, weights))
