"""A plan as operations on memory of its own: laid out, packed and tuned once, then run for every batch."""

from __future__ import annotations

import ctypes
import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..graph import Convolution, Network, Pool, Value
from ..layout import Place
from ..library import Arena, Io, Isa, Kind, Map, Op, Team
from ..program import TUNED_ROWS, set_choice
from ..tuning import Choice, Tuner
from ..weights import Packed, nonzeros, pack_dense, pack_pairs, pack_sparse
from .graph import Norm
from .library import Extra, Train
from .plan import Buffer, Plan, Step
from .weights import Gather, Phase, gathers, hollow, kept_tiles, numbered, transposed

Kept = Mapping[str, "np.ndarray[Any, np.dtype[np.int64]] | None"]


_PER_CHANNEL = ("mean", "inverse", "scale", "shift", "slope", "level")
"""What the operations of a norm share, in the order of its rows."""


class Program:
    """The operations of a training step for one image size and at most so many images.

    Parameters
    ----------
    network : Network
        The layers.
    kept : mapping
        The flat positions of the kept weights of each convolution; None: all of them.
    modules : mapping
        The convolutions and norms by name: whose parameters and statistics they are.
    isa, team, tuner : Isa, Team, Tuner
        As for inference.
    chunks : int
        The most chunks of ``isa.lanes`` images that a batch may have.
    backward : bool
        Whether gradients are wanted.
    """

    def __init__(
        self,
        network: Network,
        kept: Kept,
        modules: Mapping[str, nn.Module],
        machine: tuple[Isa, Team, Tuner],
        chunks: int,
        *,
        backward: bool,
    ) -> None:
        (self.isa, self._team, tuner), self.chunks = machine, chunks
        self._modules = modules
        layers = [hollow(la) if isinstance(la, Convolution) else la for la in network.layers]
        network = Network(layers, network.input, network.output)
        self._kept, self._convolutions = kept, {la.name: la for la in layers if isinstance(la, Convolution)}
        phases = {name: self._phases(la) if backward else [] for name, la in self._convolutions.items()}
        biased = {name for name in phases if getattr(modules[name], "bias", None) is not None}
        plan = Plan(network, phases, biased, backward=backward)
        self.arena = Arena(plan.lay_out(self.isa.lanes, chunks))
        weakref.finalize(self, Arena.close, self.arena)
        self.features = network.output.channels * network.output.height * network.output.width
        self.parameters = list(self._named_parameters(layers))
        self._counts = {
            name: len(k) if (k := kept[name]) is not None else modules[name].get_parameter("weight").numel()
            for name in phases
        }
        self._norms = {
            la.name: np.zeros((len(_PER_CHANNEL), la.x.channels), np.float32) for la in layers if isinstance(la, Norm)
        }
        self._biases = {name: np.zeros(modules[name].get_parameter("weight").shape[0], np.float32) for name in phases}
        self._kept_alive: list[Any] = [plan]
        self._build(plan, tuner)

    # --- building -----------------------------------------------------------------------------------------------------

    def _named_parameters(self, layers: list[Any]) -> Any:
        """Yield (layer, parameter's own name) in the order of the gradients."""
        for layer in layers:
            if isinstance(layer, Convolution | Norm):
                for own in ("weight", "bias"):
                    if getattr(self._modules[layer.name], own, None) is not None:
                        yield layer.name, own

    def _phases(self, layer: Convolution) -> list[Phase]:
        return [replace(phase, convolution=hollow(phase.convolution)) for phase in transposed(layer)]

    def _numbered(self, step: Step) -> Convolution:
        """Return a step's convolution with the numbers of its weights, which are dense: for as long as it is packed."""
        name = _owner(step)
        layer = numbered(self._convolutions[name], self._kept[name])
        if step.phase is None:
            return layer
        return next(phase.convolution for phase in transposed(layer) if phase.first == step.phase.first)

    def _build(self, plan: Plan, tuner: Tuner) -> None:
        maps = [b for b in plan.buffers if b.place is not None]
        rows = max(b.value.height * b.value.channels for b in maps)
        self._sums = np.zeros(self.chunks * rows * 2, np.float64)
        steps = [s for s in plan.steps if s.kind != Kind.ZERO or (s.y and s.y.border)]
        first = [index for index, step in enumerate(plan.steps) if step.kind != Kind.ZERO or (step.y and step.y.border)]
        self.extras = (Extra * len(steps))()
        self.ops = (Op * len(steps))(*(self._op(step, self.extras[i]) for i, step in enumerate(steps)))
        self.names = [step.name for step in steps]
        self.steps = steps
        self._split = sum(index < plan.backward_from for index in first)
        for i, op in enumerate(self.ops):
            op.train = ctypes.addressof(self.extras[i])
        gather: list[tuple[str, Gather]] = []
        partial = 1
        for i, step in enumerate(steps):
            if step.kind == Kind.SPARSE:
                packed = self._tune(i, step, tuner)
                gather += [(_owner(step), g) for g in gathers(packed)]
                if step.phase is None:
                    self.ops[i].bias = self._biases[step.layer.name].ctypes.data
            elif step.kind == Train.KEPT:
                partial = max(partial, self._tile_kept(i, step))
        self._partial = np.zeros(partial, np.float32)
        for i, step in enumerate(steps):
            if step.kind in (Train.KEPT, Train.KEPT_SUM):
                self.extras[i].partial = self._partial.ctypes.data
            if step.kind == Train.KEPT_SUM:
                before = self.extras[i - 1]
                self.extras[i].bands, self.extras[i].count = before.bands, before.count
        self._gathers(gather)

    def _gathers(self, gather: list[tuple[str, Gather]]) -> None:
        """Make the operations that put the weights where the tiles read them."""
        self._gather_extras = (Extra * max(1, len(gather)))()
        self._gather_ops = (Op * max(1, len(gather)))()
        self._gather_names = [name for name, _ in gather]
        for i, (_, g) in enumerate(gather):
            extra = self._gather_extras[i]
            extra.index, extra.to, extra.count, extra.apart = g.index.ctypes.data, g.to, len(g.index), g.apart
            self._gather_ops[i].kind, self._gather_ops[i].train = Train.GATHER, ctypes.addressof(extra)
            self._kept_alive.append(g)

    def _map(self, buffer: Buffer | None) -> Map:
        return Map() if buffer is None or buffer.place is None else buffer.place.map(self.arena)

    def _op(self, step: Step, extra: Extra) -> Op:
        op = Op(kind=step.kind, stride=1, parts=1, x=self._map(step.x), y=self._map(step.y), r=self._map(step.r))
        op.low, op.high = step.clamp.low, step.clamp.high
        op.x_step, op.y_step, op.r_step = (_size(b) for b in (step.x, step.y, step.r))
        extra.z, extra.z_step = self._map(step.z), _size(step.z)
        extra.from_input, extra.sums = step.from_input, self._sums.ctypes.data
        layer = step.layer
        if isinstance(layer, Convolution | Pool):
            w = layer.window
            op.stride, op.pad_top, op.pad_left = w.stride, w.top, w.left
            op.kernel_h, op.kernel_w = w.kernel
        if isinstance(layer, Convolution):
            op.reach_h, op.reach_w = ((k - 1) * d + 1 for k, d in zip(w.kernel, w.dilation, strict=True))
            op.bias = self._zeros(len(layer.weight))
            extra.shift_h, extra.shift_w = step.first
        elif isinstance(layer, Pool):
            op.outside = layer.outside
            op.limit_h, op.limit_w = layer.limits
        elif isinstance(layer, Norm):
            self._norm_extra(layer, extra)
        return op

    def _zeros(self, count: int) -> int:
        array = np.zeros(count, np.float32)
        self._kept_alive.append(array)
        return int(array.ctypes.data)

    def _norm_extra(self, layer: Norm, extra: Extra) -> None:
        state, module = self._norms[layer.name], self._modules[layer.name]
        for row, name in enumerate(_PER_CHANNEL):
            setattr(extra, name, state[row].ctypes.data)
        extra.epsilon = module.eps

    def _tune(self, index: int, step: Step, tuner: Tuner) -> Packed:
        """Choose how to cut a convolution, as for inference, and put the choice into its operation."""
        layer, op = self._numbered(step), self.ops[index]
        x = _place(step.x)
        found = nonzeros(layer, x, self.isa.lanes)
        packs: dict[tuple[Kind, int], Packed] = {}

        def apply(choice: Choice) -> None:
            key = (choice.kernel, choice.block)
            if key not in packs:
                if choice.kernel == Kind.DENSE:
                    packs[key] = pack_dense(layer, x, self.isa.lanes, choice.block)
                elif choice.kernel == Kind.PAIR:
                    packs[key] = pack_pairs(layer, found, x, choice.block)
                else:
                    packs[key] = pack_sparse(layer, found, choice.block)
            set_choice(op, choice, packs[key])

        def run(choice: Choice) -> None:
            apply(choice)
            op.y.height = min(layer.y.height, TUNED_ROWS)
            self._team.run(self.isa, self.ops, index, 1, None)
            op.y.height = layer.y.height

        choice = tuner.choose(layer, len(found.value), _strip(step, layer.y), self.isa, run)
        apply(choice)
        packed = packs[choice.kernel, choice.block]
        self._kept_alive.append(packed)
        return packed

    def _tile_kept(self, index: int, step: Step) -> int:
        """Put the tiles of a layer's weight gradients into its operation; return the floats of its partial sums."""
        op, extra = self.ops[index], self.extras[index]
        tiles = kept_tiles(self._numbered(step), _place(step.x), _strip(step, step.layer.y), self.isa)
        op.starts, op.offsets = tiles.starts.ctypes.data, tiles.offsets.ctypes.data
        op.tile, op.rows, op.parts = tiles.tile, tiles.rows, tiles.parts
        extra.bands, extra.band, extra.count = tiles.bands, tiles.band, len(tiles.offsets)
        self._kept_alive.append(tiles)
        return tiles.bands * len(tiles.offsets)

    # --- running ------------------------------------------------------------------------------------------------------

    def forward(self, images: Tensor, values: Mapping[tuple[str, str], Tensor]) -> Tensor:
        """Return features (B, d) of a float32 batch; ``values`` holds kept weights and the other parameters."""
        count = len(images)
        features = torch.empty(count, self.features)
        self._set_batch(count)
        for name, bias in self._biases.items():
            if (name, "bias") in values:
                bias[:] = values[name, "bias"].numpy()
        for i, name in enumerate(self._gather_names):
            self._gather_extras[i].source = values[name, "weight"].data_ptr()
        for name in self._norms:
            self._set_norm(name, values)
        unusual = np.zeros(count + self.isa.lanes, np.int32)
        for i, step in enumerate(self.steps[: self._split]):
            if step.kind == Train.LOAD:
                self.extras[i].io = _io(images, images.stride(), unusual)
            elif step.kind == Train.STORE:
                self.extras[i].io.output = features.data_ptr()
        self._team.run(self.isa, self._gather_ops, 0, len(self._gather_names), None)
        self._team.run(self.isa, self.ops, 0, self._split, None)
        return features

    def backward(self, gradient: Tensor) -> dict[tuple[str, str], Tensor]:
        """Return the gradients of the last batch's parameters, kept weights' as vectors."""
        gradient = gradient.contiguous()
        found: dict[tuple[str, str], Tensor] = {}
        for name, own in self.parameters:
            whole = self._counts[name] if own == "weight" and name in self._counts else None
            parameter = getattr(self._modules[name], own)
            found[name, own] = torch.zeros(parameter.numel() if whole is None else whole)
        unusual = np.zeros(len(gradient) + self.isa.lanes, np.int32)
        output = self.steps[self._split - 1].x
        for i in range(self._split, len(self.steps)):
            step, extra = self.steps[i], self.extras[i]
            if step.kind == Train.LOAD and output is not None:
                v = output.value
                extra.io = _io(gradient, (self.features, v.height * v.width, v.width, 1), unusual)
            elif step.kind == Train.KEPT_SUM:
                extra.to = found[step.layer.name, "weight"].data_ptr()
            elif step.kind == Train.BIAS:
                extra.offset_gradient = found[step.layer.name, "bias"].data_ptr()
            elif step.kind == Train.NORM_SLOPES:
                gain, offset = found.get((step.layer.name, "weight")), found.get((step.layer.name, "bias"))
                extra.gain_gradient = None if gain is None else gain.data_ptr()
                extra.offset_gradient = None if offset is None else offset.data_ptr()
        self._team.run(self.isa, self.ops, self._split, len(self.steps) - self._split, None)
        return found

    def costs(
        self, images: Tensor, values: Mapping[tuple[str, str], Tensor], repeats: int
    ) -> list[tuple[str, str, float]]:
        """Return the name, the kind and the least seconds of each operation."""
        features = self.forward(images, values)
        gradients = self.backward(torch.ones_like(features))
        least = [float("inf")] * len(self.ops)
        for _ in range(repeats):
            for i in range(len(self.ops)):
                started = time.perf_counter()
                self._team.run(self.isa, self.ops, i, 1, None)
                least[i] = min(least[i], time.perf_counter() - started)
        del features, gradients  # the operations have written into them until here
        kinds = [f"{Kind(s.kind).name if s.kind in list(Kind) else Train(s.kind).name}" for s in self.steps]
        passes = ["forward" if i < self._split else "backward" for i in range(len(self.steps))]
        return [(n, f"{p} {k.lower()}", t) for n, p, k, t in zip(self.names, passes, kinds, least, strict=True)]

    def _set_batch(self, count: int) -> None:
        chunks = -(-count // self.isa.lanes)
        for op, extra in zip(self.ops, self.extras, strict=True):
            op.chunks = 0 if op.kind in _OVER_ALL else chunks
            extra.images, extra.batches = count, chunks

    def _set_norm(self, name: str, values: Mapping[tuple[str, str], Tensor]) -> None:
        module: Any = self._modules[name]
        gain, offset = values.get((name, "weight")), values.get((name, "bias"))
        fixed = not module.training and module.running_mean is not None
        tracked = module.track_running_stats and module.running_mean is not None
        factor = module.momentum
        if not fixed and tracked and module.num_batches_tracked is not None:
            module.num_batches_tracked.add_(1)
            factor = 1 / float(module.num_batches_tracked) if factor is None else factor
        for i in self._of_norm(name):
            extra = self.extras[i]
            extra.fixed, extra.momentum = fixed, factor or 0.0
            extra.gain = None if gain is None else gain.data_ptr()
            extra.offset = None if offset is None else offset.data_ptr()
            extra.running_mean = module.running_mean.data_ptr() if tracked else None
            extra.running_var = module.running_var.data_ptr() if tracked else None

    def _of_norm(self, name: str) -> list[int]:
        if not hasattr(self, "_norm_steps"):
            self._norm_steps: dict[str, list[int]] = {}
            for i, step in enumerate(self.steps):
                if isinstance(step.layer, Norm):
                    self._norm_steps.setdefault(step.layer.name, []).append(i)
        return self._norm_steps[name]


_OVER_ALL = {Train.MOMENTS, Train.NORM_SLOPES, Train.KEPT, Train.KEPT_SUM, Train.BIAS}
"""Operations that go over all chunks themselves."""


def _owner(step: Step) -> str:
    """Return the name of the convolution whose weights a step reads."""
    name: str = step.layer.name
    return name if step.phase is None else name.removesuffix(" back")


def _size(buffer: Buffer | None) -> int:
    return 0 if buffer is None or buffer.place is None else buffer.place.size


def _place(buffer: Buffer | None) -> Place:
    if buffer is None or buffer.place is None:
        raise TypeError("a step without its map")
    return buffer.place


def _strip(step: Step, y: Value) -> int:
    """Return how many columns lie side by side in all maps of a step."""
    return min(y.width, *(b.place.strip for b in (step.x, step.y, step.r) if b is not None and b.place is not None))


def _io(tensor: Tensor, strides: tuple[int, ...], unusual: np.ndarray) -> Io:
    io = Io()
    io.input = tensor.data_ptr()
    io.stride_n, io.stride_c, io.stride_h, io.stride_w = strides
    io.unusual = unusual.ctypes.data
    return io
