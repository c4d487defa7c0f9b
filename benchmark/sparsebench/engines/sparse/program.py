"""A network of one image size as operations on one arena: laid out, packed and tuned once, then run for every chunk."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from .graph import Convolution, Network, Value
from .layout import Layout, lay_out
from .library import Arena, Io, Isa, Kind, Op, Team
from .operations import Operations
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
        self._operations = Operations(self.layout, self.arena)
        self._kept: list[Any] = []  # arrays that operations point to
        ops: list[Op] = []
        convolutions: dict[int, Convolution] = {}
        self._zero(ops, network.input)
        self._append(ops, "images", Op(kind=Kind.PACK, y=self._operations.map(network.input)))
        for layer in network.layers:
            self._zero(ops, layer.y)
            if isinstance(layer, Convolution):
                convolutions[len(ops)] = layer
            for op in self._operations.of(layer):
                self._append(ops, layer.name, op)
        self._append(ops, "features", Op(kind=Kind.UNPACK, x=self._operations.map(network.output)))
        self.ops = (Op * len(ops))(*ops)
        for index, conv in convolutions.items():
            self._tune(index, conv, tuner)

    def run(self, io: Io | None, first: int = 0, count: int | None = None) -> None:
        """Run all operations, or ``count`` from ``first`` on, on one chunk; ``io`` may lack for those that use none."""
        self._team.run(self.isa, self.ops, first, len(self.ops) if count is None else count, io)

    def _append(self, ops: list[Op], name: str, op: Op) -> None:
        ops.append(op)
        self.names.append(name)

    def _zero(self, ops: list[Op], value: Value) -> None:
        if self.layout.of(value).border:
            self._append(ops, "border", Op(kind=Kind.ZERO, y=self._operations.map(value)))

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
