"""Kept weights and where they go: a convolution's own tiles, those of its transpose, and their gradients.

A layer's kept weights are one vector, in the order of the dense tensor. What packs a convolution for the kernels is
given the kept weights' numbers (from 1 on) in place of their values, so that its arrays say which weight goes where.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ....schema import InputError
from ..graph import Convolution, Floats, Value, Window
from ..layout import Place
from ..library import Isa
from ..weights import Packed, nonzeros

_MOST = 2**24 - 1  # whole numbers that a float32 holds


@dataclass(frozen=True)
class Phase:
    """A convolution of output gradients that gives the input gradients of every ``stride``-th row and column."""

    convolution: Convolution
    first: tuple[int, int]


def hollow(layer: Convolution) -> Convolution:
    """Return a layer whose weights take no memory: zeros."""
    return replace(layer, weight=np.broadcast_to(np.float32(0), layer.weight.shape))


def numbered(layer: Convolution, kept: npt.NDArray[np.int64] | None) -> Convolution:
    """Return a layer whose weights are the numbers of those kept; ``kept`` None: all."""
    count = layer.weight.size if kept is None else len(kept)
    if count > _MOST:
        raise InputError(f"layer {layer.name!r} has {count} weights, too many to train", "use --engine torch")
    flat = np.zeros(layer.weight.size, np.float32)
    flat[slice(None) if kept is None else kept] = np.arange(1, count + 1, dtype=np.float32)
    return replace(layer, weight=flat.reshape(layer.weight.shape))


def transposed(layer: Convolution) -> list[Phase]:
    """Return the convolutions from a layer's output gradients to its input gradients: one, or four at stride 2."""
    outputs, inputs, height, width = layer.weight.shape
    groups, w = layer.groups, layer.window
    turned = layer.weight.reshape(groups, outputs // groups, inputs, height, width).swapaxes(1, 2)
    turned = turned.reshape(groups * inputs, outputs // groups, height, width)
    phases = []
    for first_h in range(w.stride):
        rows = _taps(height, w.stride, w.top, w.dilation[0], first_h)
        for first_w in range(w.stride):
            columns = _taps(width, w.stride, w.left, w.dilation[1], first_w)
            high, wide = -(-(layer.x.height - first_h) // w.stride), -(-(layer.x.width - first_w) // w.stride)
            y = Value(layer.x.channels, high, wide)
            if not rows.taps or not columns.taps or y.height < 1 or y.width < 1:
                continue
            weight: Floats = np.ascontiguousarray(turned[:, :, rows.taps][:, :, :, columns.taps])
            window = Window(weight.shape[2:], 1, rows.before, columns.before, (rows.step, columns.step))
            bias = np.zeros(len(weight), np.float32)
            x = Value(layer.y.channels, layer.y.height, layer.y.width)
            name = f"{layer.name} back"
            conv = Convolution(name=name, x=x, y=y, weight=weight, bias=bias, window=window, groups=groups)
            phases.append(Phase(conv, (first_h, first_w)))
    return phases


@dataclass(frozen=True)
class _Taps:
    taps: list[int]
    before: int
    step: int


def _taps(kernel: int, stride: int, before: int, dilation: int, first: int) -> _Taps:
    """Return the places of a kernel that reach an input's positions ``first``, ``first + stride`` ..., and from where.

    Output o reads input o * stride - before + tap * dilation; seen from the input, the output lies at an offset of
    (first + before - tap * dilation) / stride, where that is whole.
    """
    taps = [t for t in reversed(range(kernel)) if (first + before - t * dilation) % stride == 0]
    offsets = [(first + before - t * dilation) // stride for t in taps]
    step = offsets[1] - offsets[0] if len(offsets) > 1 else 1
    return _Taps(taps, -offsets[0] if offsets else 0, step)


@dataclass(frozen=True)
class Gather:
    """Weights into an array: ``index`` names a kept weight, or is -1 for a zero; ``apart`` floats lie between two."""

    index: npt.NDArray[np.int32]
    to: int
    apart: int


def gathers(packed: Packed) -> list[Gather]:
    """Return what puts weights into the arrays of a packed layer, which hold numbers now."""
    found = []
    if packed.entries is not None and len(packed.entries):
        found.append(_gather(packed.entries["value"], packed.entries.ctypes.data + 4, 2))
    if packed.both is not None and len(packed.both):
        for member in (0, 1):
            to = packed.both.ctypes.data + 4 + 4 * member
            found.append(_gather(packed.both["value"][:, member], to, 3))
    if packed.weights is not None:
        found.append(_gather(packed.weights.ravel(), packed.weights.ctypes.data, 1))
    return found


def _gather(numbers: Any, to: int, apart: int) -> Gather:
    return Gather((numbers.astype(np.int32) - 1), to, apart)


@dataclass(frozen=True)
class KeptTiles:
    """How a layer's weight gradients are summed, and where each weight's inputs are."""

    starts: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int32]
    rows: int
    tile: int
    band: int
    bands: int
    parts: int


_PARTIAL_FLOATS = 2**21
_ITEMS = 24


def kept_tiles(layer: Convolution, x: Place, strip: int, isa: Isa) -> KeptTiles:
    """Return a numbered layer's tiles; they follow from its shape alone, so that sums are always cut alike."""
    found = nonzeros(layer, x, isa.lanes)
    order = np.argsort(found.value, kind="stable")
    starts = np.zeros(len(layer.weight) + 1, np.int32)
    np.cumsum(np.bincount(found.output, minlength=len(layer.weight)), out=starts[1:])
    units = isa.lanes // isa.vector
    rows = 3 if isa.pair_tile else 1
    strips = -(-strip * units // 8)
    tile = -(-strip // strips) * units
    height, count = layer.y.height, max(1, len(order))
    rows = min(rows, height)
    bands = max(1, min(-(-height // rows), _PARTIAL_FLOATS // count))
    band = -(-height // bands)
    if bands > 1:
        band = -(-band // rows) * rows
    bands = -(-height // band)
    parts = max(1, min(len(layer.weight) // 8, -(-_ITEMS // bands)))
    return KeptTiles(starts, found.offset[order], rows, tile, band, bands, parts)
