"""A convolution's weights as the kernels read them: offsets and values, in the order in which they are added up."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .graph import Convolution
from .layout import Place
from .library import Isa, Kind, Op

_PAIRED = (0.2, 0.85)  # shares of nonzero weights between which pairs are quicker than the other kernels
_PAIR_FLOATS = 1280  # of a column, in a block
_WIDE = 4  # columns below which a tile is too small for them
GROUP = 6
"""Output channels that a dense tile computes together (``SPB_GROUP``)."""

ENTRY = np.dtype([("offset", "<i4"), ("value", "<f4")])
BOTH = np.dtype([("offset", "<i4"), ("value", "<f4", 2)])


@dataclass(frozen=True)
class Nonzeros:
    """The nonzero weights, ordered by output channel, input channel, kernel row and column."""

    output: npt.NDArray[np.int32]
    input: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Packed:
    """The arrays of one layer for one way to cut it.

    ``starts``, and ``entries`` (with ``both_starts`` and ``both``, for pairs) or ``offsets`` and ``weights``.
    """

    blocks: int
    starts: npt.NDArray[np.int32]
    entries: npt.NDArray[np.void] | None = None
    both_starts: npt.NDArray[np.int32] | None = None
    both: npt.NDArray[np.void] | None = None
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
    blocks = -(-layer.x.channels // block)
    order, starts = _blocked(found.output, found.input // block, len(layer.weight), blocks)
    entries = np.empty(len(order), ENTRY)
    entries["offset"], entries["value"] = found.offset[order], found.value[order]
    return Packed(blocks, starts, entries=entries)


def _blocked(
    output: np.ndarray, block: np.ndarray, outputs: int, blocks: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the order that puts weights into blocks, and where each output's begin in each: (blocks, outputs + 1)."""
    counts = np.bincount(block.astype(np.int64) * outputs + output, minlength=blocks * outputs)
    ends = np.cumsum(counts).reshape(blocks, outputs)
    starts = np.empty((blocks, outputs + 1), np.int32)
    starts[:, 1:] = ends
    starts[0, 0] = 0
    starts[1:, 0] = ends[:-1, -1]
    return np.argsort(block.astype(np.int16), kind="stable"), starts


def paired(layer: Convolution, count: int, isa: Isa) -> bool:
    """Return whether a layer with ``count`` nonzero weights is computed in pairs of output channels.

    It never depends on a measurement: in a pair the weights are added up in another order.
    """
    low, high = _PAIRED
    plain = layer.position_wise and layer.groups == 1 and layer.y.width >= _WIDE
    return isa.pair_tile > 0 and plain and low <= count / max(1, layer.weight.size) <= high


def pair_block(inputs: int, isa: Isa) -> int:
    """Return the input channels of a block of a paired layer: its part of a tile fits into a first cache."""
    blocks = -(-inputs * isa.vector // _PAIR_FLOATS)
    return -(-inputs // blocks)


def pack_pairs(layer: Convolution, found: Nonzeros, x: Place, block: int) -> Packed:
    """Return the weights of a position-wise layer, those that both channels of a pair have apart."""
    weight = layer.weight[:, :, 0, 0].astype(np.float32)
    weight = np.concatenate([weight, np.zeros((len(weight) % 2, weight.shape[1]), np.float32)])
    weight = weight.reshape(-1, 2, weight.shape[1])
    shared = (weight != 0).all(1)
    own = ~shared[found.output // 2, found.input]
    rest = Nonzeros(found.output[own], found.input[own], found.offset[own], found.value[own])
    packed = pack_sparse(layer, rest, block)
    pair, channel = np.nonzero(shared)
    order, starts = _blocked(pair, channel // block, len(shared), packed.blocks)
    pair, channel = pair[order], channel[order]
    both = np.empty(len(order), BOTH)
    both["offset"], both["value"] = channel * x.channel, weight[pair, :, channel]
    return replace(packed, both_starts=starts, both=both)


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
    count = _last(op.starts, op.blocks * (op.y.channels + 1))
    if op.kind == Kind.PAIR:
        count += 2 * _last(op.both_starts, op.blocks * ((op.y.channels + 1) // 2 + 1))
    return count


def _last(address: int, length: int) -> int:
    return int((ctypes.c_int32 * length).from_address(address)[length - 1])
