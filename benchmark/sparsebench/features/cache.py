"""The feature cache: one folder an entry, named by its key's digest, written atomically and checked when it is read.

A cache may only ever save time. An entry that is damaged is discarded and made again; a folder that can't be written is
a warning; of two processes that make the same entry, one wins and the other's copy is thrown away.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..mapped import Mapping as MappedFile
from ..schema import canonical_json, digest
from .stream import STREAM_ABOVE, Stream

_ARRAY, _META = "features.npy", "meta.json"
_TEMPORARY = ".tmp-"
_STALE_SECONDS = 24 * 3600.0
_BLOCK = 64 * 2**20


class CacheWarning(UserWarning):
    """The feature cache could not be read or written; results are not affected."""


class _DamagedError(Exception):
    """An entry that isn't what was written."""


@dataclass(frozen=True)
class Entry:
    """A cached array and the seconds it took to make."""

    array: npt.NDArray[np.float32]
    seconds: float


def entry_dir(cache_dir: Path, key: Mapping[str, Any]) -> Path:
    """Return the folder of a key's entry."""
    return cache_dir / "features" / digest(key)


def read(cache_dir: Path, key: Mapping[str, Any], shape: tuple[int, int]) -> Entry | None:
    """Return the entry of ``key``, or None where there is none.

    An entry that is truncated, altered, or of another shape than ``shape`` (n, d) is discarded with a
    :class:`CacheWarning`.
    """
    folder = entry_dir(cache_dir, key)
    try:
        if not folder.is_dir():
            return None
        return _load(folder, key, shape)
    except (OSError, ValueError, KeyError, TypeError, EOFError, _DamagedError) as error:
        warnings.warn(f"cached features {folder} are damaged ({error}): made again", CacheWarning, stacklevel=3)
        _discard(folder)
        return None


def write(cache_dir: Path, key: Mapping[str, Any], array: npt.NDArray[np.float32], seconds: float) -> None:
    """Store an array under ``key``; a failure to do so is a :class:`CacheWarning`."""
    folder = entry_dir(cache_dir, key)
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder.parent))
        _save(temporary, key, array, seconds)
        temporary.replace(folder)
        _sync(folder.parent)
    except OSError as error:
        if not folder.is_dir():
            warnings.warn(f"features can't be cached in {folder.parent}: {error}", CacheWarning, stacklevel=3)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def adopt(cache_dir: Path, key: Mapping[str, Any], stream: Stream, seconds: float) -> Entry:
    """Make a finished stream the entry of ``key``, and return it, mapped into memory.

    Raises
    ------
    RunError
        If the disk doesn't take it.
    """
    folder = entry_dir(cache_dir, key)
    stream.close()
    _write_meta(stream.folder, key, stream.shape, stream.sha256.hexdigest(), seconds)
    if folder.is_dir():
        _discard(folder)
    stream.folder.replace(folder)
    return Entry(np.load(folder / _ARRAY, mmap_mode="r", allow_pickle=False), seconds)


def _load(folder: Path, key: Mapping[str, Any], shape: tuple[int, int]) -> Entry:
    meta = json.loads((folder / _META).read_text(encoding="utf-8"))
    if canonical_json(meta["key"]) != canonical_json(key):
        raise _DamagedError("the key in it is another one")
    large = (folder / _ARRAY).stat().st_size > STREAM_ABOVE
    array = np.load(folder / _ARRAY, mmap_mode="r" if large else None, allow_pickle=False)
    if array.dtype != np.float32 or array.shape != shape:
        raise _DamagedError(f"an array of {array.dtype} {array.shape}, not float32 {shape}")
    array = np.ascontiguousarray(array)
    if _array_sha256(array) != meta["sha256"]:
        raise _DamagedError("the array's hash is another one")
    return Entry(array, float(meta["seconds"]))


def _save(folder: Path, key: Mapping[str, Any], array: npt.NDArray[np.float32], seconds: float) -> None:
    with (folder / _ARRAY).open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    _write_meta(folder, key, array.shape, _array_sha256(array), seconds)


def _write_meta(folder: Path, key: Mapping[str, Any], shape: tuple[int, ...], sha256: str, seconds: float) -> None:
    meta = {"key": key, "shape": list(shape), "sha256": sha256, "seconds": seconds}
    with (folder / _META).open("w", encoding="utf-8") as text:
        json.dump(meta, text, indent=1, sort_keys=True)
        text.flush()
        os.fsync(text.fileno())
    folder.chmod(0o755)  # mkdtemp's own mode would shut out others who share the cache
    _sync(folder)


def _array_sha256(array: npt.NDArray[np.float32]) -> str:
    value, mapping = hashlib.sha256(), MappedFile(array)
    for rows in np.array_split(array, max(1, array.nbytes // _BLOCK)):
        value.update(cast("Any", np.ascontiguousarray(rows).data))
        mapping.read(rows.nbytes)
    return value.hexdigest()


def _sync(folder: Path) -> None:
    """Make a folder's entries durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _discard(folder: Path) -> None:
    """Move a damaged entry out of the way in one step, then delete it."""
    trash = folder.parent / f"{_TEMPORARY}{os.getpid()}-{folder.name}"
    try:
        folder.replace(trash)
    except OSError:
        return
    shutil.rmtree(trash, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Delete what killed processes left half written a day ago or earlier."""
    for path in parent.glob(f"{_TEMPORARY}*"):
        try:
            old = time.time() - path.stat().st_mtime > _STALE_SECONDS
        except FileNotFoundError:
            continue
        if old:
            shutil.rmtree(path, ignore_errors=True)
