"""A network of one image size as operations on one arena: laid out, packed and tuned once, then run for every chunk."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from .graph import Convolution, Layer, Mean, Network, Pool, Value
from .layout import Layout, lay_out
from .library import Arena, Io, Isa, Kind, Map, Op, Team
from .tuning import Choice, Tuner
from .weights import Nonzeros, Packed, nonzeros, pack_dense, pack_pairs, pack_sparse

TUNED_ROWS = 8
"""Rows of a layer that are run to measure it."""


class Program:
    """The operations of a network; made for one instruction set and one team of threads.

    Parameters
    ----------
    network : Network
        The layers.
    isa : Isa
        The instruction set, which fixes the images a chunk.
    team : Team
        The threads; tile sizes are chosen by measuring with them.
    tuner : Tuner
        Chooses tile sizes; they never change a result.
    """

    def __init__(self, network: Network, isa: Isa, team: Team, tuner: Tuner) -> None:
        self.isa, self._team = isa, team
        self.layout: Layout = lay_out(network, isa.lanes)
        self.arena = Arena(self.layout.size)
        weakref.finalize(self, Arena.close, self.arena)
        self.features = network.output.channels * network.output.height * network.output.width
        self.names: list[str] = []
        self._kept: list[Any] = []  # arrays that operations point to
        ops: list[Op] = []
        self._zero(ops, network.input)
        self._append(ops, "images", Op(kind=Kind.PACK, y=self._map(network.input)))
        for layer in network.layers:
            self._zero(ops, layer.y)
            self._append(ops, layer.name, self._op(layer))
        self._append(ops, "features", Op(kind=Kind.UNPACK, x=self._map(network.output)))
        self.ops = (Op * len(ops))(*ops)
        for index, layer in self._convolutions(network).items():
            self._tune(index, layer, tuner)

    def run(self, io: Io, first: int = 0, count: int | None = None) -> None:
        """Run all operations, or ``count`` from ``first`` on, on one chunk."""
        self._team.run(self.isa, self.ops, first, len(self.ops) if count is None else count, io)

    def _map(self, value: Value) -> Map:
        return self.layout.of(value).map(self.arena)

    def _append(self, ops: list[Op], name: str, op: Op) -> None:
        ops.append(op)
        self.names.append(name)

    def _zero(self, ops: list[Op], value: Value) -> None:
        if self.layout.of(value).border:
            self._append(ops, "border", Op(kind=Kind.ZERO, y=self._map(value)))

    def _op(self, layer: Layer) -> Op:
        """Return a layer's operation; a convolution's weights come with its tuning."""
        residual = Map() if layer.residual is None else self._map(layer.residual)
        op = Op(
            kind=Kind.ADD,
            stride=1,
            x=self._map(layer.x),
            y=self._map(layer.y),
            r=residual,
            low=layer.clamp.low,
            high=layer.clamp.high,
            parts=1,
        )
        if isinstance(layer, Convolution):
            w = layer.window
            op.kind, op.stride, op.bias = Kind.SPARSE, w.stride, self._keep(layer.bias)
            op.reach_h, op.reach_w = ((k - 1) * d + 1 for k, d in zip(w.kernel, w.dilation, strict=True))
            op.pad_top, op.pad_left = w.top, w.left
        elif isinstance(layer, Mean):
            op.kind = Kind.MEAN
        elif isinstance(layer, Pool):
            w = layer.window
            op.kind = Kind.MAXPOOL if layer.kind == "max" else Kind.AVGPOOL
            op.stride, op.outside = w.stride, layer.outside
            (op.kernel_h, op.kernel_w), op.pad_top, op.pad_left = w.kernel, w.top, w.left
            op.limit_h, op.limit_w = layer.limits
        return op

    def _keep(self, array: np.ndarray) -> int:
        self._kept.append(array)
        return int(array.ctypes.data)

    def _convolutions(self, network: Network) -> dict[int, Convolution]:
        at = [i for i, op in enumerate(self.ops) if op.kind not in (Kind.PACK, Kind.ZERO, Kind.UNPACK)]
        return {i: layer for i, layer in zip(at, network.layers, strict=True) if isinstance(layer, Convolution)}

    def _tune(self, index: int, layer: Convolution, tuner: Tuner) -> None:
        """Choose how to cut a convolution, and put the choice into its operation."""
        x = self.layout.of(layer.x)
        found = nonzeros(layer, x, self.isa.lanes)
        packs: dict[tuple[Kind, int], Packed] = {}

        def apply(choice: Choice) -> None:
            key = (choice.kernel, choice.block)
            if key not in packs:
                packs[key] = self._pack(layer, found, choice)
            set_choice(self.ops[index], choice, packs[key])

        def run(choice: Choice) -> None:
            apply(choice)
            self.ops[index].y.height = min(layer.y.height, TUNED_ROWS)
            self._team.run(self.isa, self.ops, index, 1, None)
            self.ops[index].y.height = layer.y.height

        choice = tuner.choose(layer, len(found.value), self.layout.strip(layer), self.isa, run)
        apply(choice)
        packed = packs[choice.kernel, choice.block]
        self._kept += [packed]

    def _pack(self, layer: Convolution, found: Nonzeros, choice: Choice) -> Packed:
        if choice.kernel == Kind.DENSE:
            return pack_dense(layer, self.layout.of(layer.x), self.isa.lanes, choice.block)
        if choice.kernel == Kind.PAIR:
            return pack_pairs(layer, found, self.layout.of(layer.x), choice.block)
        return pack_sparse(layer, found, choice.block)


def set_choice(op: Op, choice: Choice, packed: Packed) -> None:
    """Put into an operation how it is cut, and its weights."""
    op.kind = choice.kernel
    op.tile, op.rows, op.parts, op.blocks = choice.tile, choice.rows, choice.parts, packed.blocks
    op.sweep = choice.sweep
    op.starts = packed.starts.ctypes.data
    for name in ("entries", "both_starts", "both", "offsets", "weights"):
        array = getattr(packed, name)
        setattr(op, name, None if array is None else array.ctypes.data)
    op.inputs = 0 if packed.offsets is None else len(packed.offsets)


def io_for(images: Any, output: np.ndarray, first: int, count: int, unusual: np.ndarray) -> Io:
    """Return what ``Program.run`` needs for images ``first`` to ``first + count`` of a float32 CPU tensor."""
    strides = images.stride()
    io = Io()
    io.input = images.data_ptr() + 4 * first * strides[0]
    io.stride_n, io.stride_c, io.stride_h, io.stride_w = strides
    io.output = output.ctypes.data + 4 * first * output.shape[1]
    io.count = count
    io.unusual = unusual.ctypes.data + unusual.itemsize * first
    return io
