"""Decoded crops on disk: of a data set of files, decoding is paid once for all checkpoints that see it alike.

An entry is one uint8 array ``(n, 3, S, S)``, mapped into memory when it is read, with a checksum beside it that is
checked first. It is made while it is used for the first time. Like every cache it may only save time: what is damaged
is made again, what can't be written is a warning.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..files import write_text
from ..schema import digest
from .base import Split
from .loading import evaluation_batches
from .transforms import TRANSFORM_VERSION, Transform

if TYPE_CHECKING:
    import torch

CROPS_BUDGET = 4 * 2**30
"""Bytes of one split's crops that are kept at most: some 28,000 images at 224 pixels."""

_BLOCK = 64 * 2**20


def evaluation_views(
    split: Split,
    transform: Transform,
    batch_size: int,
    *,
    decoder: str,
    decoder_version: str,
    cache_dir: Path | None,
    workers: int | None = 0,
    budget: int = CROPS_BUDGET,
) -> Iterator[torch.Tensor]:
    """Yield a split's images in order, as evaluation sees them, from the cache where they are there.

    Parameters
    ----------
    decoder, decoder_version : str
        What decodes, and its version: part of the entry's key.
    cache_dir : Path or None
        The root of the caches; None neither reads nor writes one.
    workers : int or None
        Threads that decode (see :func:`.loading.evaluation_batches`).
    budget : int
        Bytes above which a split isn't cached.

    Yields
    ------
    Tensor
        uint8, shape (B, 3, S, S); the last batch may be smaller.
    """
    size = transform.preprocess.input_size
    shape = (len(split), 3, size, size)
    images = evaluation_batches(split, transform, batch_size, workers=workers, decoder=decoder)
    if cache_dir is None or split.file is None or not 0 < int(np.prod(shape)) <= budget:
        yield from images
        return
    entry = cache_dir / "crops" / f"{_key(split, transform, decoder_version)}.npy"
    there = _read(entry, shape)
    if there is None:
        yield from _kept(images, entry, shape)
        return
    import torch

    for start in range(0, len(split), batch_size):
        yield torch.from_numpy(np.array(there[start : start + batch_size]))


def _key(split: Split, transform: Transform, decoder_version: str) -> str:
    geometry = transform.preprocess.model_dump(mode="json", exclude={"mean", "std"})
    return digest([TRANSFORM_VERSION, decoder_version, geometry, list(split.hashes)])


def _read(entry: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
    try:
        meta = json.loads(entry.with_suffix(".json").read_text(encoding="utf-8"))
        array: npt.NDArray[np.uint8] = np.load(entry, mmap_mode="r", allow_pickle=False)
        if array.dtype == np.uint8 and array.shape == shape and _crc(array) == meta["crc32"]:
            return array
        reason = "its checksum is another one"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        reason = str(error)
    warnings.warn(f"cached crops {entry} are damaged ({reason}): made again", stacklevel=3)
    for path in (entry, entry.with_suffix(".json")):
        with contextlib.suppress(OSError):
            path.unlink()
    return None


def _kept(images: Iterator[torch.Tensor], entry: Path, shape: tuple[int, ...]) -> Iterator[torch.Tensor]:
    """Yield images, and leave them as an entry if all of them are used."""
    temporary = entry.with_name(f".{entry.stem[:24]}.{secrets.token_hex(6)}.tmp")
    array: Any = None
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(temporary)
    except OSError as error:
        warnings.warn(f"crops can't be cached in {entry.parent}: {error}", stacklevel=3)
        array = None
    try:
        row = 0
        for batch in images:
            if array is not None:
                array[row : row + len(batch)] = batch.numpy()
            row += len(batch)
            yield batch
        if array is not None and row == shape[0]:
            array.flush()
            crc = _crc(array)
            temporary.replace(entry)
            write_text(entry.with_suffix(".json"), json.dumps({"shape": list(shape), "crc32": crc}))
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _reserve(path: Path) -> None:
    """Take a file's space on disk now: a disk that fills up under a mapped file kills the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)


def _crc(array: npt.NDArray[np.uint8]) -> int:
    flat, value = array.reshape(-1), 0
    for start in range(0, flat.size, _BLOCK):
        value = zlib.crc32(flat[start : start + _BLOCK].data, value)
    return value
