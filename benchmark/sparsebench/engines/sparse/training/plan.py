"""The steps of a training step, forward and backward, and the maps that they read and write."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from ..graph import Clamp, Convolution, Elementwise, Layer, Mean, Network, Pool, Value
from ..layout import Life, Place, arrange, shape_of
from ..library import Kind
from .graph import Norm
from .library import Train
from .weights import Phase


@dataclass(eq=False)
class Buffer:
    """A map in memory, of every chunk of a batch; it lives from the first step that touches it to the last."""

    value: Value
    border: int = 0
    cut: bool = True
    born: int = -1
    dies: int = -1
    place: Place | None = None

    def read_by(self, layer: Convolution | Pool) -> None:
        """Lay it out for a layer that looks around a position."""
        if isinstance(layer, Convolution):
            self.border = max(self.border, layer.border())
            self.cut &= layer.position_wise and layer.groups == 1
        else:
            self.cut &= layer.window.kernel == (1, 1) and layer.window.stride == 1


@dataclass(eq=False)
class Step:
    """An operation: its maps, the layer that it is of, and what else its kind needs."""

    kind: int
    name: str
    x: Buffer | None = None
    y: Buffer | None = None
    r: Buffer | None = None
    z: Buffer | None = None
    layer: Any = None
    clamp: Clamp = field(default_factory=Clamp)
    from_input: bool = False
    first: tuple[int, int] = (0, 0)
    phase: Phase | None = None


class Plan:
    """All steps in their order; ``backward_from`` is the first of the backward pass.

    Parameters
    ----------
    network : Network
        The layers, as :class:`.tracing.Tracing` gives them; convolutions count by their shapes alone.
    phases : dict
        What :func:`.weights.transposed` gives, by a convolution's name.
    biased : collection of str
        Convolutions that have a bias.
    backward : bool
        Whether gradients are wanted; without them maps live as long as the forward pass needs them alone.
    """

    def __init__(
        self, network: Network, phases: dict[str, list[Phase]], biased: Collection[str], *, backward: bool
    ) -> None:
        self.network, self._phases, self._biased = network, phases, biased
        self.steps: list[Step] = []
        self._maps: dict[int, Buffer] = {}
        self._makers = {id(layer.y): layer for layer in network.layers}
        self._again: dict[int, Buffer] = {}
        self._gradients: dict[int, Buffer] = {}
        self._forward()
        self.backward_from = len(self.steps)
        if backward:
            self._backward()
        self.buffers = list({id(b): b for s in self.steps for b in (s.x, s.y, s.r, s.z) if b is not None}.values())

    def lay_out(self, lanes: int, chunks: int) -> int:
        """Place all maps; return the bytes of memory that they take."""
        for index, step in enumerate(self.steps):
            for buffer in (step.x, step.y, step.r, step.z):
                if buffer is not None:
                    buffer.born = index if buffer.born < 0 else buffer.born
                    buffer.dies = index
        places = [shape_of(Life([b.value], b.born, b.dies, b.border, b.cut), lanes) for b in self.buffers]
        blocks = [(b.born, b.dies, p.size * chunks) for b, p in zip(self.buffers, places, strict=True)]
        offsets = arrange(blocks)
        for buffer, place, offset in zip(self.buffers, places, offsets, strict=True):
            buffer.place = Place(**{**vars(place), "offset": offset})
        return max(offset + size for offset, (_, _, size) in zip(offsets, blocks, strict=True))

    # --- forward ------------------------------------------------------------------------------------------------------

    def _add(self, kind: int, name: str, **parts: Any) -> None:
        self.steps.append(Step(kind, name, **parts))

    def _zero(self, buffer: Buffer) -> None:
        """Make sure of the zero rows around a map; it is said for each map, and left out where there are none."""
        self._add(Kind.ZERO, "border", y=buffer)

    def _forward(self) -> None:
        network = self.network
        for value in (network.input, *(layer.y for layer in network.layers)):
            self._maps[id(value)] = Buffer(value)
        for layer in network.layers:
            if isinstance(layer, Convolution | Pool):
                self._maps[id(layer.x)].read_by(layer)
        source = self._maps[id(network.input)]
        source.cut = False
        self._zero(source)
        self._add(Train.LOAD, "images", y=source)
        for layer in network.layers:
            self._run(layer)
        self._add(Train.STORE, "features", x=self._maps[id(network.output)])

    def _run(self, layer: Layer) -> None:
        maps = self._maps
        x, y = maps[id(layer.x)], maps[id(layer.y)]
        r = None if layer.residual is None else maps[id(layer.residual)]
        self._zero(y)
        if isinstance(layer, Norm):
            self._add(Train.SUMS, f"{layer.name} sums", x=x, layer=layer)
            self._add(Train.MOMENTS, f"{layer.name} moments", x=x, layer=layer)
            self._add(Train.NORM, layer.name, x=x, y=y, r=r, layer=layer, clamp=layer.clamp)
        elif isinstance(layer, Convolution):
            self._add(Kind.SPARSE, layer.name, x=x, y=y, layer=layer)
        elif isinstance(layer, Pool):
            kind = Kind.MAXPOOL if layer.kind == "max" else Kind.AVGPOOL
            self._add(kind, layer.name, x=x, y=y, layer=layer)
        else:
            kind = Kind.MEAN if isinstance(layer, Mean) else Kind.ADD
            self._add(kind, layer.name, x=x, y=y, r=r, layer=layer, clamp=layer.clamp)

    # --- backward -----------------------------------------------------------------------------------------------------

    def _backward(self) -> None:
        output = self.network.output
        gradient = self._gradients[id(output)] = Buffer(output, cut=False)
        self._add(Train.LOAD, "gradient of features", y=gradient)
        for layer in reversed(self.network.layers):
            g = self._gradients.pop(id(layer.y), None)
            if g is None:
                continue
            if isinstance(layer, Norm):
                self._norm_back(layer, g)
            elif isinstance(layer, Convolution):
                self._convolution_back(layer, g)
            elif isinstance(layer, Pool):
                self._pool_back(layer, g)
            elif isinstance(layer, Mean):
                shared = Buffer(layer.x)
                self._add(Train.MEAN_BACK, f"{layer.name} back", x=g, y=shared)
                self._give(layer.x, shared)
            elif isinstance(layer, Elementwise):
                self._elementwise_back(layer, g)

    def _give(self, value: Value, g: Buffer) -> None:
        """Make a map the gradient of a value, or add it to what there is."""
        before = self._gradients.get(id(value))
        if before is None:
            self._gradients[id(value)] = g
        elif before is not g:
            self._add(Kind.ADD, "sum of gradients", x=before, y=before, r=g)

    def _computed_again(self, layer: Layer | None) -> bool:
        """Whether a norm's output is computed again; of a chain of additions every second one is kept."""
        if not isinstance(layer, Norm):
            return False
        source = None if layer.residual is None else self._makers.get(id(layer.residual))
        return source is None or source.residual is None or not self._computed_again(source)

    def _value_of(self, value: Value) -> Buffer:
        """Return a value in the backward pass: kept, or computed again from a norm's input."""
        made = self._makers.get(id(value))
        if made is None or not self._computed_again(made):
            return self._maps[id(value)]
        if id(value) not in self._again:
            r = None if made.residual is None else self._value_of(made.residual)
            again = self._again[id(value)] = Buffer(value)
            for reader in self.network.layers:
                if reader.x is value and isinstance(reader, Convolution | Pool):
                    again.read_by(reader)
            self._zero(again)
            z = self._maps[id(made.x)]
            self._add(Train.NORM, f"{made.name} again", x=z, y=again, r=r, layer=made, clamp=made.clamp)
        return self._again[id(value)]

    def _norm_back(self, layer: Norm, g: Buffer) -> None:
        z, clamp = self._maps[id(layer.x)], layer.clamp
        from_input = layer.residual is None and not clamp.off
        seen = None if from_input or clamp.off else self._value_of(layer.y)
        behind = g if seen is not None else None
        common: dict[str, Any] = {"z": z, "layer": layer, "clamp": clamp, "from_input": from_input}
        self._add(Train.NORM_SUMS, f"{layer.name} back sums", x=g, y=behind, r=seen, **common)
        self._add(Train.NORM_SLOPES, f"{layer.name} slopes", x=g, layer=layer)
        into = g if layer.residual is None else Buffer(layer.x)
        self._add(Train.NORM_BACK, f"{layer.name} back", x=g, y=into, **common)
        if layer.residual is not None:
            self._give(layer.residual, g)
        self._give(layer.x, into)

    def _convolution_back(self, layer: Convolution, g: Buffer) -> None:
        x, back = self._value_of(layer.x), layer.x is not self.network.input
        self._add(Train.KEPT, f"{layer.name} weights", x=x, y=g, layer=layer)
        self._add(Train.KEPT_SUM, f"{layer.name} weights' sum", layer=layer)
        if layer.name in self._biased:
            self._add(Train.SUMS, f"{layer.name} bias sums", x=g, layer=layer)
            self._add(Train.BIAS, f"{layer.name} bias", x=g, layer=layer)
        if not back:
            return
        phases = self._phases[layer.name]
        for phase in phases:
            g.read_by(phase.convolution)
        self._zero(g)
        before = self._gradients.get(id(layer.x))
        into = self._gradients[id(layer.x)] = before or Buffer(layer.x)
        if layer.window.stride == 1:
            (phase,) = phases
            self._add(Kind.SPARSE, phase.convolution.name, x=g, y=into, r=before, layer=phase.convolution, phase=phase)
            return
        if before is None:
            self._add(Train.FILL, "zeros", y=into)
        for phase in phases:
            part = Buffer(phase.convolution.y)
            self._add(Kind.SPARSE, phase.convolution.name, x=g, y=part, layer=phase.convolution, phase=phase)
            self._add(Train.SPREAD, f"{layer.name} spread", x=part, y=into, layer=layer, first=phase.first)

    def _pool_back(self, layer: Pool, g: Buffer) -> None:
        before = self._gradients.get(id(layer.x))
        into = self._gradients[id(layer.x)] = before or Buffer(layer.x)
        if before is None:
            self._add(Train.FILL, "zeros", y=into)
        name = f"{layer.name} back"
        if layer.kind == "max":
            x = self._value_of(layer.x)
            self._add(Train.MAXPOOL_BACK, name, x=g, y=into, r=x, z=self._value_of(layer.y), layer=layer)
        else:
            self._add(Train.AVGPOOL_BACK, name, x=g, y=into, layer=layer)

    def _elementwise_back(self, layer: Elementwise, g: Buffer) -> None:
        if not layer.clamp.off:
            value = self._value_of(layer.y)
            self._add(Train.MASK, f"{layer.name} back", x=g, y=g, r=value, clamp=layer.clamp)
        if layer.residual is not None:
            copy = Buffer(layer.y)
            self._add(Kind.ADD, f"{layer.name} gradient", x=g, y=copy)
            self._give(layer.residual, copy)
        self._give(layer.x, g)
