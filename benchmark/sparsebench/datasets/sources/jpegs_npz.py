"""An ``.npz`` of JPEGs: the bytes of all images of a split one after the other, where each begins, and its class."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...schema import DatasetError
from ..images.decode import decode_bytes


@dataclass(frozen=True, eq=False)
class JpegSplit:
    """One split: the JPEGs' bytes (uint8), where each begins (n + 1 positions, int64), and class indices (n,) int64."""

    name: str
    jpeg: npt.NDArray[np.uint8]
    offset: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]

    def data(self, i: int) -> bytes:
        """Return the bytes of image ``i``."""
        return self.jpeg[self.offset[i] : self.offset[i + 1]].tobytes()

    def load(self, i: int) -> Image.Image:
        """Decode image ``i`` to RGB, or raise a :class:`DatasetError` that names it."""
        return decode_bytes(self.data(i), f"{self.name} image {i}")


def read_npz(path: Path, splits: Sequence[str]) -> tuple[tuple[str, ...], list[JpegSplit]]:
    """Return the names of the classes, and some splits.

    Parameters
    ----------
    path : Path
        A file with ``classes`` and, for each split, ``<split>_jpeg``, ``<split>_offset`` and ``<split>_label``.
    splits : sequence of str
        The splits to read: ``train``, ``val``.

    Raises
    ------
    DatasetError
        If it can't be read, an array is missing, or the arrays don't fit together.
    """
    names = ["classes", *(f"{split}_{part}" for split in splits for part in ("jpeg", "offset", "label"))]
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, Any] = {key: archive[key] for key in names if key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, TypeError,
            AttributeError) as error:  # fmt: skip
        raise DatasetError(f"{path} is not a readable .npz: {error}", "get the file again") from error
    try:
        parts = [_split(path, split, arrays) for split in splits]
        if arrays["classes"].ndim != 1:
            raise DatasetError(f"{path}: classes is not a row of names", "store it as an array of names")
        return tuple(map(str, arrays["classes"])), parts
    except KeyError as error:
        own = ", ".join(f"{splits[0]}_{part}" for part in ("jpeg", "offset", "label"))
        others = "".join(f" and the same three for {split}" for split in splits[1:])
        raise DatasetError(f"{path} has no array {error}", f"it needs classes and {own}{others}") from error


def _split(path: Path, split: str, arrays: dict[str, Any]) -> JpegSplit:
    jpeg, offset, label = (arrays[f"{split}_{part}"] for part in ("jpeg", "offset", "label"))
    if jpeg.dtype != np.uint8 or jpeg.ndim != 1:
        raise DatasetError(f"{path}: {split}_jpeg is not a row of bytes", "store the JPEGs' bytes as uint8")
    for name, array in ((f"{split}_offset", offset), (f"{split}_label", label)):
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise DatasetError(f"{path}: {name} is not a row of integers", "store it as an integer array")
    offset = offset.astype(np.int64)
    if len(offset) != len(label) + 1:
        raise DatasetError(
            f"{path}: {split}_offset has {len(offset)} positions for {len(label)} labels",
            "there is one more than labels",
        )
    if offset[0] < 0 or offset[-1] > len(jpeg) or (np.diff(offset) <= 0).any():
        raise DatasetError(
            f"{path}: {split}_offset doesn't fit {split}_jpeg, which has {len(jpeg)} bytes",
            "offsets rise from 0 to the number of bytes",
        )
    return JpegSplit(f"{path}: {split}", jpeg, offset, label.astype(np.int64))
