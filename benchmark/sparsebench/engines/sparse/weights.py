"""A convolution's weights as the kernels read them: offsets and values, in the order in which they are added up."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .graph import Convolution
from .layout import Place
from .library import Op

GROUP = 6
"""Output channels that a dense tile computes together (``SPB_GROUP``)."""

ENTRY = np.dtype([("offset", "<i4"), ("value", "<f4")])


@dataclass(frozen=True)
class Nonzeros:
    """The nonzero weights, ordered by output channel, input channel, kernel row and column."""

    output: npt.NDArray[np.int32]
    input: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Packed:
    """The arrays of one layer for one way to cut it; ``starts``, and ``entries`` or ``offsets`` and ``weights``."""

    blocks: int
    starts: npt.NDArray[np.int32]
    entries: npt.NDArray[np.void] | None = None
    offsets: npt.NDArray[np.int32] | None = None
    weights: npt.NDArray[np.float32] | None = None


def nonzeros(layer: Convolution, x: Place, lanes: int) -> Nonzeros:
    """Return where each nonzero weight finds its input, seen from an output's origin, in bytes."""
    output, within, i, j = np.nonzero(layer.weight)
    outputs, inputs = layer.weight.shape[:2]
    channel = output // (outputs // layer.groups) * inputs + within
    offset = _offsets(layer, x, lanes, channel, i, j)
    value = layer.weight[output, within, i, j].astype(np.float32)
    return Nonzeros(output.astype(np.int32), channel.astype(np.int32), offset, value)


def _offsets(layer: Convolution, x: Place, lanes: int, channel: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    w = layer.window
    rows = (i * w.dilation[0] - w.top) * x.row
    columns = (j * w.dilation[1] - w.left) * (lanes * 4)
    return (rows + columns + channel * x.channel).astype(np.int32)


def pack_sparse(layer: Convolution, found: Nonzeros, block: int) -> Packed:
    """Return the entries, cut into blocks of ``block`` input channels."""
    outputs, inputs = len(layer.weight), layer.x.channels
    blocks = -(-inputs // block)
    key = (found.input // block).astype(np.int16)
    order = np.argsort(key, kind="stable")
    entries = np.empty(len(order), ENTRY)
    entries["offset"], entries["value"] = found.offset[order], found.value[order]
    counts = np.bincount(key.astype(np.int64) * outputs + found.output, minlength=blocks * outputs)
    ends = np.cumsum(counts).reshape(blocks, outputs)
    starts = np.empty((blocks, outputs + 1), np.int32)
    starts[:, 1:] = ends
    starts[0, 0] = 0
    starts[1:, 0] = ends[:-1, -1]
    return Packed(blocks, starts, entries=entries)


def pack_dense(layer: Convolution, x: Place, lanes: int, block: int) -> Packed:
    """Return all weights, zeros too, of a layer of one group."""
    outputs, inputs, height, width = layer.weight.shape
    channel, i, j = (index.ravel() for index in np.indices((inputs, height, width)))
    groups = -(-outputs // GROUP)
    padded = np.zeros((groups * GROUP, inputs * height * width), np.float32)
    padded[:outputs] = layer.weight.reshape(outputs, -1)
    weights = np.ascontiguousarray(padded.reshape(groups, GROUP, -1).transpose(0, 2, 1))
    firsts = list(range(0, inputs, block))
    starts = np.array([*firsts, inputs], np.int32) * (height * width)
    return Packed(
        len(firsts), starts.astype(np.int32), offsets=_offsets(layer, x, lanes, channel, i, j), weights=weights
    )


def entries_of(op: Op) -> int:
    """Return how many nonzero weights a sparse operation holds."""
    length = op.blocks * (op.y.channels + 1)
    return int((ctypes.c_int32 * length).from_address(op.starts)[length - 1])
