"""Layers as operations on an arena: what each kind of layer puts into the structure that the kernels read."""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import (
    Attention,
    Concat,
    Convolution,
    Elementwise,
    Layer,
    LayerNorm,
    Mean,
    Pool,
    Scale,
    Slice,
    Tokens,
    Unfold,
    Value,
)
from .layout import Layout
from .library import Arena, Kind, Map, Op


class Operations:
    """Makes operations; keeps the arrays that they point to.

    Parameters
    ----------
    layout : Layout
        Where each value lies.
    arena : Arena
        The memory.
    """

    def __init__(self, layout: Layout, arena: Arena) -> None:
        self._layout, self._arena = layout, arena
        self._kept: list[np.ndarray] = []

    def map(self, value: Value, first: int = 0, channels: int | None = None) -> Map:
        """Return the structure for a value, or for some of its channels."""
        found = self._layout.of(value).map(self._arena)
        found.data += first * found.ch
        found.channels = value.channels if channels is None else channels
        return found

    def of(self, layer: Layer) -> list[Op]:
        """Return a layer's operations: one, but for what is put together of several values.

        A convolution's weights come with its tuning.
        """
        if isinstance(layer, Concat):
            firsts = np.cumsum([0, *(value.channels for value in layer.reads)])
            parts = zip(layer.reads, firsts, strict=False)
            return [_sum(self.map(value), self.map(layer.y, int(first), value.channels)) for value, first in parts]
        if isinstance(layer, Slice):
            return [_sum(self.map(layer.x, layer.first, layer.y.channels), self.map(layer.y))]
        op = _sum(self.map(layer.x), self.map(layer.y))
        if layer.residual is not None:
            op.r = self.map(layer.residual)
        op.low, op.high = layer.clamp.low, layer.clamp.high
        op.curve, op.slope = layer.clamp.curve, layer.clamp.slope
        op.positions = layer.x.positions
        self._fill(op, layer)
        return [op]

    def _fill(self, op: Op, layer: Layer) -> None:
        """Put in what only layers of one kind have."""
        if isinstance(layer, Elementwise | Tokens) and layer.constant is not None:
            op.constant = self._keep(layer.constant)
        if isinstance(layer, Convolution):
            w = layer.window
            op.kind, op.stride, op.bias = Kind.SPARSE, w.stride, self._keep(layer.bias)
            op.reach_h, op.reach_w = ((k - 1) * d + 1 for k, d in zip(w.kernel, w.dilation, strict=True))
            op.pad_top, op.pad_left = w.top, w.left
        elif isinstance(layer, Mean):
            op.kind = Kind.MEAN
        elif isinstance(layer, Scale):
            op.kind = Kind.SCALE
        elif isinstance(layer, Tokens):
            op.kind, op.shift = Kind.TOKENS, layer.shift
        elif isinstance(layer, Attention):
            op.kind, op.heads, op.scale = Kind.ATTENTION, layer.heads, layer.scale
        elif isinstance(layer, LayerNorm):
            op.kind, op.eps = Kind.LAYERNORM, layer.eps
            op.weights, op.bias = self._keep(layer.weight), self._keep(layer.bias)
        elif isinstance(layer, Pool | Unfold):
            w = layer.window
            (op.kernel_h, op.kernel_w), op.pad_top, op.pad_left = w.kernel, w.top, w.left
            op.kind, op.stride = Kind.UNFOLD, w.stride
            if isinstance(layer, Pool):
                op.kind = Kind.MAXPOOL if layer.kind == "max" else Kind.AVGPOOL
                op.outside = layer.outside
                op.limit_h, op.limit_w = layer.limits

    def _keep(self, array: Any) -> int:
        kept = np.ascontiguousarray(array, np.float32)
        self._kept.append(kept)
        return int(kept.ctypes.data)


def _sum(x: Map, y: Map) -> Op:
    """Return the operation that copies a map."""
    return Op(kind=Kind.ADD, stride=1, x=x, y=y, low=-np.inf, high=np.inf, parts=1)
