"""The operations of training in the compiled kernels: the structures of ``csrc/training.h``."""

from __future__ import annotations

import ctypes
from ctypes import Structure, c_float, c_int32, c_int64, c_void_p
from enum import IntEnum

from ..library import Io, Map, library


class Train(IntEnum):
    """What an operation of training does; the others are :class:`..library.Kind`."""

    GATHER = 64
    LOAD = 65
    STORE = 66
    SUMS = 67
    MOMENTS = 68
    NORM = 69
    NORM_SUMS = 70
    NORM_SLOPES = 71
    NORM_BACK = 72
    MASK = 73
    KEPT = 74
    KEPT_SUM = 75
    BIAS = 76
    SPREAD = 77
    FILL = 78
    MAXPOOL_BACK = 79
    AVGPOOL_BACK = 80
    MEAN_BACK = 81


class Extra(Structure):
    """What an operation of training needs beside an ``Op``."""

    _fields_ = [
        ("z", Map),
        ("z_step", c_int64),
        *((n, c_int32) for n in ("images", "batches", "from_input", "fixed", "bands", "band", "shift_h", "shift_w")),
        ("epsilon", c_float),
        ("momentum", c_float),
        *((n, c_void_p) for n in ("gain", "offset", "running_mean", "running_var")),
        *((n, c_void_p) for n in ("mean", "inverse", "scale", "shift", "slope", "level")),
        *((n, c_void_p) for n in ("sums", "partial", "gain_gradient", "offset_gradient", "source", "index", "to")),
        ("count", c_int32),
        ("apart", c_int32),
        ("io", Io),
    ]


def missing() -> str | None:
    """Return what is missing to train with the kernels; None where nothing is."""
    lib = library()
    if lib is None or lib.spb_sizes(6) != ctypes.sizeof(Extra):
        return "needs: a C compiler when sparsebench is installed; it was not built here"
    return None
