"""Predictions from strangers: arrays of the kinds and sizes that predictions have, and nothing that is unpickled."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

from ..store.predictions import Predictions
from . import limits
from .problems import BundleError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FOREIGN = (
    OSError, ValueError, KeyError, IndexError, EOFError, TypeError, AttributeError, MemoryError, OverflowError,
    RecursionError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error,
    struct.error,
)  # fmt: skip
"""What reading a damaged archive may raise."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members may be packed."""

_KINDS = {"ids": "u", "id_lengths": "i", "labels": "i", "predicted": "u", "logits": "f2"}
_DIMENSIONS = {"logits": 2}
_REQUIRED = ("ids", "id_lengths", "labels", "predicted")


def read_predictions(data: bytes, where: str) -> Predictions:
    """Return the predictions in an archive (NPZ).

    Raises
    ------
    BundleError
        If it isn't one: members that are missing, unknown, there twice or too large, arrays of another kind or shape
        than predictions have, ids that are no text, or logits that are no numbers.
    """
    import numpy as np

    try:
        file = Sparing(io.BytesIO(data), limits.ARRAYS)
        with zipfile.ZipFile(file) as archive:
            file.most = limits.PREDICTIONS
            arrays = _arrays(archive)
        if len(arrays["id_lengths"]) > limits.IMAGES:
            raise ValueError(f"it is of {len(arrays['id_lengths'])} images, {limits.IMAGES} are the limit")
        ends = np.cumsum(arrays["id_lengths"])
        if len(ends) == 0 or arrays["id_lengths"].min() < 0 or ends[-1] != len(arrays["ids"]):
            raise ValueError("its ids and their lengths don't go together")
        names = arrays["ids"].tobytes()
        spans = zip(ends - arrays["id_lengths"], ends, strict=True)
        ids = tuple(names[start:end].decode("utf-8", "surrogatepass") for start, end in spans)
        labels, predicted, logits = arrays["labels"], arrays["predicted"], arrays.get("logits")
        if not len(ids) == len(labels) == len(predicted) == (len(ids) if logits is None else len(logits)):
            raise ValueError("its arrays have different lengths")
    except BundleError as error:
        raise BundleError("member", where, error.problem.message) from error
    except FOREIGN as error:
        raise BundleError("member", where, f"is not a file of predictions: {error or type(error).__name__}") from error
    if logits is not None and not np.isfinite(logits).all():
        raise BundleError("logits", where, "holds logits that are NaN or infinite")
    return Predictions(ids, labels.astype(np.int64), predicted.astype(np.int64), logits)


def _arrays(archive: zipfile.ZipFile) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an archive by name."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in members or name not in _KINDS or info.filename != f"{name}.npy":
            raise ValueError(f"{info.filename!r} is there twice or none of its arrays")
        if info.compress_type not in METHODS:
            raise ValueError(f"{info.filename} is packed in another way than deflate")
        members[name] = info
    if missing := [name for name in _REQUIRED if name not in members]:
        raise ValueError(f"it lacks {missing[0]}")
    if sum(info.file_size for info in members.values()) > limits.PREDICTIONS:
        raise ValueError(f"its arrays take more than {limits.PREDICTIONS >> 20} MiB")
    return {name: _array(archive.read(info), name) for name, info in members.items()}


def _array(data: bytes, name: str) -> np.ndarray:
    """Return the array in the bytes of an ``.npy`` file; its header must say what follows."""
    import numpy as np
    from numpy.lib import format as npy

    file = io.BytesIO(data)
    if npy.read_magic(file) != (1, 0):
        raise ValueError(f"{name} is of an unknown version")
    shape, fortran, dtype = npy.read_array_header_1_0(file)
    if (
        not dtype.str[1:].startswith(_KINDS[name])
        or dtype.hasobject
        or len(shape) != _DIMENSIONS.get(name, 1)
        or fortran
    ):
        raise ValueError(f"{name} is an array of {dtype} with shape {shape}")
    size, count = dtype.itemsize, 1
    for length in shape:
        count *= length
    if min(shape, default=0) < 0 or count * size != len(data) - file.tell():
        raise ValueError(f"{name} should hold {count} numbers, and doesn't")
    return np.frombuffer(data, dtype, count, offset=file.tell()).reshape(shape)


class Sparing:
    """A file that gives no more at once than a table of members may have: ``zipfile`` reads that as a whole.

    Parameters
    ----------
    file : binary file
        The zip file.
    most : int
        Bytes.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self.most = file, most
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes.

        Raises
        ------
        BundleError
            If they are more than a table of members may have.
        """
        most = self.most
        if size is not None and size > most:
            raise BundleError("file", "the bundle", f"its table of members has {size} bytes, {most} are the limit")
        data = self._file.read(most + 1 if size is None or size < 0 else size)
        if len(data) > most:
            raise BundleError("file", "the bundle", f"its table of members has more than {most} bytes")
        return data

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()
