"""The compiled kernels through ctypes: the structures of ``csrc/sparse.h``, and this processor's instruction sets."""

from __future__ import annotations

import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_float, c_int, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

from ...common.native.build import KERNELS
from ...common.native.loading import load

ABI = 6
PATH = KERNELS.path


class Kind(IntEnum):
    """What an operation does."""

    PACK = 0
    ZERO = 1
    SPARSE = 2
    DENSE = 3
    MAXPOOL = 4
    AVGPOOL = 5
    MEAN = 6
    ADD = 7
    UNPACK = 8
    PAIR = 9
    SCALE = 20
    LAYERNORM = 21
    TOKENS = 22
    ATTENTION = 23
    UNFOLD = 24


class Entry(Structure):
    """One nonzero weight."""

    _fields_ = [("offset", c_int32), ("value", c_float)]


class Both(Structure):
    """Two weights for one input: of an even output channel and of the next."""

    _fields_ = [("offset", c_int32), ("value", c_float * 2)]


class Map(Structure):
    """A value in memory."""

    _fields_ = [
        ("data", c_void_p),
        ("row", c_int64),
        ("ch", c_int64),
        ("step", c_int64),
        *((name, c_int32) for name in ("channels", "height", "width", "border", "strip")),
    ]


class Op(Structure):
    """One operation on a chunk."""

    _fields_ = [
        ("kind", c_int32),
        ("stride", c_int32),
        ("x", Map),
        ("y", Map),
        ("r", Map),
        ("low", c_float),
        ("high", c_float),
        *((name, c_int32) for name in ("tile", "rows", "parts", "blocks")),
        *((name, c_void_p) for name in ("starts", "entries", "both_starts", "both", "offsets", "weights", "bias")),
        *((name, c_int32) for name in ("inputs", "kernel_h", "kernel_w", "pad_top", "pad_left")),
        *((name, c_int32) for name in ("outside", "limit_h", "limit_w", "sweep", "reach_h", "reach_w")),
        ("curve", c_int32),
        ("slope", c_float),
        *((name, c_int32) for name in ("heads", "positions", "shift")),
        ("eps", c_float),
        ("scale", c_float),
        ("constant", c_void_p),
        ("chunks", c_int32),
        *((name, c_int64) for name in ("x_step", "y_step", "r_step")),
        ("train", c_void_p),
    ]


class Io(Structure):
    """The images of a chunk, and where its features go."""

    _fields_ = [
        ("input", c_void_p),
        *((name, c_int64) for name in ("stride_n", "stride_c", "stride_h", "stride_w")),
        ("output", c_void_p),
        ("count", c_int32),
        ("unusual", c_void_p),
    ]


class _Isa(Structure):
    _fields_ = [
        ("name", c_char_p),
        *((name, c_int32) for name in ("vector", "lanes", "tile", "dense_tile", "pair_tile")),
        ("items", CFUNCTYPE(c_int, c_void_p)),
        ("item", CFUNCTYPE(None, c_void_p, c_int, c_void_p)),
    ]


@dataclass(frozen=True)
class Isa:
    """An instruction set: floats a vector, images a chunk (lanes), and the largest tiles."""

    name: str
    pointer: int
    vector: int
    lanes: int
    tile: int
    dense_tile: int
    pair_tile: int


@cache
def library() -> ctypes.CDLL | None:
    """Return the kernels, or None where they were not built or were built for another version."""
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "spb_abi": (c_int, []),
        "spb_sizes": (c_int, [c_int]),
        "spb_count": (c_int, []),
        "spb_get": (c_void_p, [c_int]),
        "spb_usable": (c_int, [c_int]),
        "spb_team_new": (c_void_p, [c_int]),
        "spb_team_free": (None, [c_void_p]),
        "spb_run": (c_int, [c_void_p, c_void_p, c_void_p, c_int, c_void_p]),
        "spb_alloc": (c_void_p, [c_int64]),
        "spb_free": (None, [c_void_p]),
    }
    lib = load(PATH, signatures)
    if lib is None:
        return None
    sizes = [ctypes.sizeof(kind) for kind in (Entry, Both, Map, Op, Io, _Isa)]
    if lib.spb_abi() != ABI or sizes != [lib.spb_sizes(k) for k in range(len(sizes))]:
        return None
    return lib


def available() -> bool:
    """Return whether the kernels are there."""
    return library() is not None


def missing() -> str | None:
    """Return what is missing to use the kernels; None where nothing is."""
    return None if available() else "needs: a C compiler when sparsebench is installed; it was not built here"


@cache
def instruction_sets() -> dict[str, Isa]:
    """Return what this processor has, best first."""
    lib = library()
    found: dict[str, Isa] = {}
    if lib is None:
        return found
    for index in range(lib.spb_count()):
        if lib.spb_usable(index):
            pointer = lib.spb_get(index)
            raw = ctypes.cast(pointer, POINTER(_Isa)).contents
            name = raw.name.decode()
            found[name] = Isa(name, pointer, raw.vector, raw.lanes, raw.tile, raw.dense_tile, raw.pair_tile)
    return found


class Team:
    """Threads that run operations together; one call at a time. A forked process starts its own."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._handle: int | None = None
        self._owner = 0

    def run(self, isa: Isa, ops: Any, first: int, count: int, io: Io | None) -> None:
        """Run ``count`` operations of an array from ``first`` on.

        Raises
        ------
        MemoryError
            If threads or memory run out.
        """
        lib = library()
        if lib is None:
            raise RuntimeError("the kernels are gone")
        if self._owner != os.getpid():  # threads don't live on in a fork
            self._handle, self._owner = lib.spb_team_new(self.threads), os.getpid()
        if not self._handle:
            self._owner = 0
            raise MemoryError(f"can't start {self.threads} threads")
        address = ctypes.addressof(ops) + first * ctypes.sizeof(Op)
        if lib.spb_run(self._handle, isa.pointer, address, count, None if io is None else ctypes.byref(io)):
            raise MemoryError("no memory for the list of operations")

    def close(self) -> None:
        """End the threads."""
        lib = library()
        if lib is not None and self._handle and self._owner == os.getpid():
            lib.spb_team_free(self._handle)
        self._handle, self._owner = None, 0


class Arena:
    """Zeroed memory, aligned for vectors, freed with its owner.

    Raises
    ------
    MemoryError
        If there is not enough.
    """

    def __init__(self, size: int) -> None:
        lib = library()
        self.size = size
        self.address: int | None = lib.spb_alloc(size) if lib is not None else None
        if not self.address:
            raise MemoryError(f"no {size} bytes for activations")

    def close(self) -> None:
        """Free the memory."""
        lib = library()
        if lib is not None and self.address:
            lib.spb_free(self.address)
        self.address = None
