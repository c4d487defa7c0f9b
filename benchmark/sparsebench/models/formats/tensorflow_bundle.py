"""Read the tensors of a TensorFlow checkpoint ("tensor bundle", V2) without TensorFlow.

A checkpoint is ``<name>.index``, a sorted string table of the LevelDB kind from tensor names to ``BundleEntryProto``
messages, and ``<name>.data-00000-of-0000N`` files with the tensors' bytes (tensorflow/core/util/tensor_bundle, and
tensorflow/core/protobuf/tensor_bundle.proto). Tables and entries carry CRC-32C checksums, which are checked.
A ``.tar.gz`` is read where it lies, nothing is extracted. Nothing in either file is run.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...schema import CheckpointError
from .budget import Budget
from .guard import first_line

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}
"""NumPy types of TensorFlow's ``DataType`` numbers (types.proto); strings and variants are left out."""


@dataclass(frozen=True)
class _Entry:
    """Where a tensor lies: the fields of ``BundleEntryProto`` that matter."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int | None


class _Limited(io.RawIOBase):
    """A compressed file that ends in an error where it unpacks to more than its budget."""

    def __init__(self, handle: gzip.GzipFile, budget: Budget) -> None:
        self._handle, self._budget = handle, budget

    def read(self, size: int = -1) -> bytes:
        """Read bytes; headers in a damaged archive may ask for any number of them."""
        left = self._budget.limit - self._handle.tell()
        content = self._handle.read(left + 1 if size < 0 else min(size, left + 1))
        self._budget.check(self._handle.tell(), "unpacking it")
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the unpacked content."""
        if whence == io.SEEK_SET:
            self._budget.check(offset, "unpacking it")
        return self._handle.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the unpacked content."""
        return self._handle.tell()


def read_bundle(path: Path, budget: Budget | None = None) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by their TensorFlow names, in its order (by name).

    Parameters
    ----------
    path : Path
        A ``.index`` file with its data files beside it, or a ``.tar.gz`` that holds one checkpoint.
    budget : Budget, optional
        What it may unpack to; by default what :meth:`Budget.of` gives.

    Raises
    ------
    CheckpointError
        If it is damaged, incomplete, too large, or holds no TensorFlow checkpoint.
    """
    budget = budget or Budget.of(path)
    try:
        if path.suffix == ".index":
            return _tensors(path.read_bytes(), _beside(path))
        with gzip.open(path) as unpacked, tarfile.open(fileobj=_Limited(unpacked, budget), mode="r:") as archive:
            members = {member.name: member for member in archive.getmembers() if member.isfile()}
            index = sorted((name for name in members if name.endswith(".index")), key=_step)
            if not index:
                raise CheckpointError(
                    f"{path} holds no TensorFlow checkpoint: no .index file among its {len(members)} files",
                    "give the archive as it was published, or the .pth file in it",
                )

            def member(name: str) -> bytes:
                found = members.get(name)
                if found is None:
                    raise CheckpointError(f"{path} lacks {name}", "it is not whole: get it again")
                if found.issparse():  # a few bytes of it can stand for any number of zeros
                    raise CheckpointError(f"{path}: {name} is stored in the tar format's sparse way", "pack it anew")
                budget.check(found.size, name)
                handle = archive.extractfile(found)
                return handle.read() if handle is not None else b""

            stem = index[-1].removesuffix(".index")
            return _tensors(member(index[-1]), lambda shard: member(stem + shard))
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path} can't be read as a TensorFlow checkpoint: {first_line(error)}",
            "it is truncated or corrupted: get it again",
        ) from error


def _step(name: str) -> tuple[int, str]:
    found = re.search(r"-(\d+)\.index$", name)
    return (int(found[1]) if found else -1, name)


def _beside(path: Path) -> Callable[[str], bytes]:
    return lambda shard: path.with_name(path.name.removesuffix(".index") + shard).read_bytes()


def _crc(content: bytes) -> int:
    """Return a CRC-32C as LevelDB stores it."""
    try:
        import google_crc32c
    except ImportError as error:
        raise CheckpointError(
            "TensorFlow checkpoints need the package google-crc32c", "pip install 'sparsebench[rigl]'"
        ) from error
    crc: int = google_crc32c.value(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _tensors(index: bytes, shard: Callable[[str], bytes]) -> dict[str, Tensor]:
    entries: dict[str, _Entry] = {}
    shards = 1
    for key, value in _table(index):
        if key == b"":
            shards = int(dict(_fields(value)).get(1, 1))
        else:
            entries[key.decode()] = _entry(value)
    data = {k: shard(f".data-{k:05d}-of-{shards:05d}") for k in {entry.shard for entry in entries.values()}}
    return {name: _tensor(name, e, data[e.shard]) for name, e in entries.items() if e.dtype in _DTYPES}


def _tensor(name: str, entry: _Entry, data: bytes) -> Tensor:
    raw = data[entry.offset : entry.offset + entry.size]
    dtype = np.dtype(_DTYPES[entry.dtype])
    if len(raw) != entry.size or entry.size != dtype.itemsize * math.prod(entry.shape):
        raise ValueError(f"tensor {name} is not whole")
    if entry.crc is not None and _crc(raw) != entry.crc:
        raise ValueError(f"checksum of tensor {name} is wrong")
    return torch.from_numpy(np.frombuffer(raw, dtype).reshape(entry.shape).copy())


# -- the string table ------------------------------------------------------------------------------------------------


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the key-value pairs of a LevelDB table: its index block leads to its data blocks."""
    if len(content) < _FOOTER or struct.unpack("<Q", content[-8:])[0] != _MAGIC:
        raise ValueError("the index is not whole")
    footer = io.BytesIO(content[-_FOOTER:-8])
    _varint(footer), _varint(footer)  # the metaindex block
    for _, handle in _block(content, _varint(footer), _varint(footer)):
        place = io.BytesIO(handle)
        yield from _block(content, _varint(place), _varint(place))


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the pairs of a block, whose keys share prefixes with their predecessors."""
    block = content[offset : offset + size]
    trailer = content[offset + size : offset + size + 5]
    if len(block) != size or len(trailer) != 5:
        raise ValueError("a block of the index is cut off")
    if trailer[0] != 0:
        raise ValueError("the index is compressed, which TensorFlow's checkpoints aren't")
    if _crc(block + trailer[:1]) != struct.unpack("<I", trailer[1:])[0]:
        raise ValueError("checksum of a block of the index is wrong")
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (restarts + 1)
    stream, key = io.BytesIO(block[:end]), b""
    while stream.tell() < end:
        shared, rest, length = _varint(stream), _varint(stream), _varint(stream)
        key = key[:shared] + stream.read(rest)
        yield key, stream.read(length)


# -- protocol buffers ------------------------------------------------------------------------------------------------


def _varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while True:
        (byte,) = stream.read(1)
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message: number and value."""
    stream = io.BytesIO(message)
    while stream.tell() < len(message):
        tag = _varint(stream)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            yield number, _varint(stream)
        elif wire == 1:
            yield number, stream.read(8)
        elif wire == 2:
            yield number, stream.read(_varint(stream))
        elif wire == 5:
            yield number, struct.unpack("<I", stream.read(4))[0]
        else:
            raise ValueError(f"unknown wire type {wire}")


def _entry(message: bytes) -> _Entry:
    fields = dict(_fields(message))
    if 7 in fields:
        raise ValueError("a tensor is stored in slices, which no published checkpoint is")
    shape = []
    for number, dim in _fields(_bytes(fields.get(2, b""))):
        if number == 2:
            shape.append(_int(dict(_fields(_bytes(dim))).get(1, 0)))
    crc = fields.get(6)
    numbers = (_int(fields.get(k, 0)) for k in (1, 3, 4, 5))
    dtype, shard, offset, size = numbers
    return _Entry(dtype, tuple(shape), shard, offset, size, None if crc is None else _int(crc))


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("a number was expected in the index")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a message was expected in the index")
    return value
