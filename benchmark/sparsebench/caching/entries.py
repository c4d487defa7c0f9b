"""One cached array: a folder named by its key's digest, checked when it is read.

The array's header is compared with the one it must have, never parsed, and its size and hash before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..common.files import read_regular
from ..schema import canonical_json, digest
from .limit import ARRAY, META, CacheWarning, hold, remove

MAPPED_ABOVE = 256 * 2**20
"""Bytes of an array above which it is mapped from its file rather than read into memory."""

_META_BYTES = 2**20
_BLOCK = 2**20


class _DamagedError(Exception):
    """An entry that isn't what was written."""


@dataclass(frozen=True)
class Entry:
    """A cached array and the seconds it took to make."""

    array: npt.NDArray[Any]
    seconds: float


def entry_dir(cache_dir: Path, kind: str, key: Mapping[str, Any]) -> Path:
    """Return the folder of a key's entry among the ``features`` or ``crops`` of a cache."""
    return cache_dir / kind / digest(key)


def read(
    cache_dir: Path, kind: str, key: Mapping[str, Any], shape: tuple[int, ...], dtype: type, *, mapped: bool = False
) -> Entry | None:
    """Return the entry of a key, or None where there is none that can be used.

    Parameters
    ----------
    cache_dir : Path
        The root of the caches.
    kind : str
        ``features`` or ``crops``.
    key : mapping
        All that the array depends on.
    shape, dtype
        What the array must be; a damaged or other one is discarded with a :class:`CacheWarning`.
    mapped : bool
        Map it into memory, read-only, also where it is small.
    """
    folder, reason = entry_dir(cache_dir, kind, key), ""
    # a file that is missing is looked for once more: another process may just have put a new entry into the old's place
    for _ in range(2):
        try:
            return _read(folder, key, shape, np.dtype(dtype), mapped)
        except (FileNotFoundError, NotADirectoryError) as error:
            if not folder.is_dir():  # there was none, or it has just been removed
                return None
            reason = str(error)
        except BlockingIOError:
            return None
        except Exception as error:  # whatever a reader of damaged files raises: the array is made again
            reason = str(error) or type(error).__name__
            break
    warnings.warn(f"the cached {kind} {folder} are damaged ({reason}): made again", CacheWarning, stacklevel=3)
    remove(folder)
    return None


def _read(folder: Path, key: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any], mapped: bool) -> Entry:
    meta = json.loads(read_regular(folder / META, _META_BYTES))
    if canonical_json(meta["key"]) != canonical_json(dict(key)):
        raise _DamagedError("the key in it is another one")
    with open_array(folder / ARRAY) as handle:
        array = _checked(handle, shape, dtype, meta["sha256"], mapped)
    entry = Entry(array, float(meta["seconds"]))
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(folder)
    return entry


def open_array(path: Path) -> IO[bytes]:
    """Open an entry's array for reading, and hold it so that it isn't removed meanwhile.

    Raises
    ------
    OSError
        If it isn't a file that can be read, or is just being removed.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    handle = open(descriptor, "rb")  # noqa: PTH123, SIM115 - it is open already, and closed by who asks for it
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        hold(descriptor)
    except OSError:
        handle.close()
        raise
    return handle


def header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return what a file of such an array begins with, in numpy's own format."""
    buffer = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def as_array(handle: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], *, mapped: bool) -> npt.NDArray[Any]:
    """Return the array in a file that was found whole; mapped, it stays held as long as it lives."""
    start = len(header(shape, dtype))
    if 0 in shape:
        return np.empty(shape, dtype)
    if mapped or _bytes(shape, dtype) > MAPPED_ABOVE:
        return np.memmap(handle, dtype=dtype, mode="r", offset=start, shape=shape)
    handle.seek(start)
    return np.fromfile(handle, dtype=dtype, count=int(np.prod(shape))).reshape(shape)


def _checked(
    handle: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], sha256: Any, mapped: bool
) -> npt.NDArray[Any]:
    expected = header(shape, dtype)
    if os.fstat(handle.fileno()).st_size != len(expected) + _bytes(shape, dtype):
        raise _DamagedError(f"its size is not that of {dtype} {shape}")
    if handle.read(len(expected)) != expected:
        raise _DamagedError(f"its header is not that of {dtype} {shape}")
    value = hashlib.sha256()
    while block := handle.read(_BLOCK):
        value.update(block)
    if value.hexdigest() != sha256:
        raise _DamagedError("its hash is another one")
    return as_array(handle, shape, dtype, mapped=mapped)


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
