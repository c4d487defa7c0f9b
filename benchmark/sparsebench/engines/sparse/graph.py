"""A frozen convolutional backbone as a list of layers: what the tracer makes and the planner lays out in memory."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(eq=False)
class Value:
    """Maps of one image: ``channels`` x ``height`` x ``width``; ``flat`` says that torch sees a vector of them all.

    ``tokens``: where so many tokens fill the positions row by row, their number; what lies behind them means nothing.
    """

    channels: int
    height: int
    width: int
    flat: bool = False
    tokens: int = 0

    @property
    def positions(self) -> int:
        """How many positions mean something."""
        return self.tokens or self.height * self.width

    def like(self, channels: int | None = None) -> Value:
        """Return a new value of the same shape, or of other channels."""
        return replace(self, channels=self.channels if channels is None else channels)


class Curve(IntEnum):
    """An activation that is no clamp (``csrc/curves.h``)."""

    NONE = 0
    SIGMOID = 1
    HARDSIGMOID = 2
    SILU = 3
    HARDSWISH = 4
    GELU = 5
    GELU_TANH = 6


@dataclass(frozen=True)
class Clamp:
    """The activation: a clamp, or a curve; without limits and curve it is none.

    ``slope``: the curve silu is x sigmoid(slope x).
    """

    low: float = -math.inf
    high: float = math.inf
    curve: Curve = Curve.NONE
    slope: float = 1.0

    @property
    def off(self) -> bool:
        """Whether it changes nothing."""
        return self == Clamp()


@dataclass(frozen=True)
class Window:
    """Where a layer's outputs look: kernel (height, width), stride, padding above and to the left, dilation."""

    kernel: tuple[int, int]
    stride: int = 1
    top: int = 0
    left: int = 0
    dilation: tuple[int, int] = (1, 1)


@dataclass(eq=False, kw_only=True)
class Layer:
    """One layer: reads ``x`` and, where there is one, ``residual``; writes ``y``, clamped."""

    name: str
    x: Value
    y: Value
    residual: Value | None = None
    clamp: Clamp = field(default_factory=Clamp)

    @property
    def reads(self) -> list[Value]:
        """The values that it reads."""
        return [self.x] if self.residual is None else [self.x, self.residual]

    @property
    def overwrites(self) -> list[Value]:
        """The values whose place the output may take, where nothing reads them afterwards."""
        return [] if self.residual is None or self.residual is self.x else [self.residual]


@dataclass(eq=False, kw_only=True)
class Convolution(Layer):
    """``weight`` (outputs, inputs a group, kernel height, kernel width), ``bias`` (outputs); also linear layers."""

    weight: Floats
    bias: Floats
    window: Window
    groups: int = 1

    @property
    def position_wise(self) -> bool:
        """Whether an output looks at its own position alone."""
        w = self.window
        return w.kernel == (1, 1) and w.stride == 1 and w.top == w.left == 0 and not self.border()

    def border(self) -> int:
        """Return how many zero rows and columns around its input it reads."""
        w, x, y = self.window, self.x, self.y
        below = (y.height - 1) * w.stride + (w.kernel[0] - 1) * w.dilation[0] - w.top - (x.height - 1)
        right = (y.width - 1) * w.stride + (w.kernel[1] - 1) * w.dilation[1] - w.left - (x.width - 1)
        return max(0, w.top, w.left, below, right)


@dataclass(eq=False, kw_only=True)
class Pool(Layer):
    """Max or average pooling.

    ``outside``: for a maximum, whether zeros lie around the input (otherwise minus infinity); for an average, whether
    only what lies inside counts. ``limits``: height and width up to which padding counts in an average.
    """

    kind: str
    window: Window
    outside: bool = False
    limits: tuple[int, int] = (0, 0)


@dataclass(eq=False, kw_only=True)
class Mean(Layer):
    """The mean over all positions."""


@dataclass(eq=False, kw_only=True)
class Elementwise(Layer):
    """``x`` plus ``residual`` and ``constant`` (rows, channels, columns), where there are any; then the activation."""

    constant: Floats | None = None


@dataclass(eq=False, kw_only=True)
class Scale(Layer):
    """``x`` times ``residual``, which may be of one position; then the activation."""

    @property
    def overwrites(self) -> list[Value]:
        """The place of ``x``."""
        return [self.x]


@dataclass(eq=False, kw_only=True)
class LayerNorm(Layer):
    """Each position normalised over its channels, times ``weight``, plus ``bias``."""

    weight: Floats
    bias: Floats
    eps: float

    @property
    def overwrites(self) -> list[Value]:
        """The place of ``x``."""
        return [self.x]


@dataclass(eq=False, kw_only=True)
class Attention(Layer):
    """softmax(scale Q K') V of each head; ``x`` holds the channels of queries, of keys and of values."""

    heads: int
    scale: float


@dataclass(eq=False, kw_only=True)
class Tokens(Layer):
    """Position p of ``y`` is position p - ``shift`` of ``x``, or zero; plus ``constant`` (rows, channels, columns)."""

    shift: int
    constant: Floats | None = None


@dataclass(eq=False, kw_only=True)
class Unfold(Layer):
    """The positions of each window side by side as channels: (channel, kernel row, kernel column)."""

    window: Window


@dataclass(eq=False, kw_only=True)
class Slice(Layer):
    """Channels of ``x`` from ``first`` on."""

    first: int


@dataclass(eq=False, kw_only=True)
class Concat(Layer):
    """The channels of ``x`` and of ``others``, one after another."""

    others: list[Value]

    @property
    def reads(self) -> list[Value]:
        """All that are put together."""
        return [self.x, *self.others]


@dataclass(frozen=True)
class Network:
    """Layers in the order in which they run, the value that the images go into and the one that comes out."""

    layers: list[Layer]
    input: Value
    output: Value


def fuse(network: Network) -> Network:
    """Put additions and clamps into the layers that they follow, where nothing else reads those layers' outputs."""
    uses = Counter(id(value) for layer in network.layers for value in layer.reads)
    uses[id(network.output)] += 1
    layers: list[Layer] = []
    for layer in network.layers:
        target = _target(layer, layers, uses) if isinstance(layer, Elementwise) else None
        if isinstance(layer, Elementwise) and layer.constant is not None:
            source = layers[-1] if layers else None
            if not isinstance(source, Tokens) or source.y is not layer.x or uses[id(source.y)] != 1:
                layers.append(layer)
            else:
                constant = layer.constant if source.constant is None else layer.constant + source.constant
                layers[-1] = replace(source, y=layer.y, constant=constant)
            continue
        if target is None:
            layers.append(layer)
            continue
        residual = target.residual
        if layer.residual is not None:
            residual = layer.residual if target.y is layer.x else layer.x
        merged = replace(target, y=layer.y, residual=residual, clamp=layer.clamp)
        layers.remove(target)
        layers.append(merged)  # at the addition's place: all that it reads is there by then
    return replace(network, layers=layers)


def _target(layer: Layer, before: list[Layer], uses: Counter[int]) -> Layer | None:
    """Return the layer that can take over an elementwise one: the latest that only it reads."""
    if layer.residual is layer.x:
        return None
    for candidate in reversed(before):
        if candidate.y not in layer.reads:
            continue
        if uses[id(candidate.y)] != 1 or not candidate.clamp.off:
            continue
        if not isinstance(candidate, Convolution | Elementwise | Pool | Scale):
            continue
        if layer.residual is None or (isinstance(candidate, Convolution | Elementwise) and candidate.residual is None):
            return candidate
    return None
