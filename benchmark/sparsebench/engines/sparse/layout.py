"""Where each value lies in memory: one arena, planned once, in which values that don't live together share memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...schema import InputError
from .graph import Convolution, Layer, Network, Pool, Value
from .library import Arena, Map

_ALIGN = 64
_FAR = 2**31 - 1
_UNCUT = 2**24  # columns of a strip where a map isn't cut
_STRIP = 8  # columns of a strip, at most: a tile's


@dataclass(frozen=True)
class Place:
    """A value's place in the arena, in bytes: of the block, and of position (0, 0) in it."""

    value: Value
    offset: int
    size: int
    origin: int
    row: int
    channel: int
    border: int
    """Zero rows around; each channel has as many zero columns after it, or more."""
    strip: int
    """Columns of a strip; far more than the width where the map isn't cut."""

    def map(self, arena: Arena) -> Map:
        """Return the structure that the kernels read."""
        address = (arena.address or 0) + self.offset + self.origin
        v = self.value
        step = v.channels * self.channel
        return Map(address, self.row, self.channel, step, v.channels, v.height, v.width, self.border, self.strip)


@dataclass(frozen=True)
class Layout:
    """The places of all values, and the arena's size in bytes."""

    places: dict[int, Place]
    size: int

    def of(self, value: Value) -> Place:
        """Return a value's place."""
        return self.places[id(value)]

    def strip(self, layer: Layer) -> int:
        """Return how many columns lie side by side in all maps of a layer."""
        maps = [layer.y, *layer.reads]
        return min(layer.y.width, *(self.of(value).strip for value in maps))


@dataclass
class Life:
    """Values that take the same place one after another, and the steps from the first's birth to the last's death."""

    values: list[Value]
    born: int
    dies: int
    border: int = 0
    cut: bool = True
    """Whether all who read or write them go position by position."""


def lay_out(network: Network, lanes: int) -> Layout:
    """Place every value, the largest first, at the lowest offset that is free while it lives.

    A sum takes the place of what it adds, where nothing else reads that afterwards.

    Raises
    ------
    InputError
        If an image is too large for the kernels' offsets.
    """
    lives = _lives(network)
    shapes = [shape_of(life, lanes) for life in lives]
    offsets = arrange([(life.born, life.dies, s.size) for life, s in zip(lives, shapes, strict=True)])
    places: dict[int, Place] = {}
    for life, s, offset in zip(lives, shapes, offsets, strict=True):
        places |= {id(value): replace(s, offset=offset, value=value) for value in life.values}
    return Layout(places, max(p.offset + p.size for p in places.values()))


def arrange(blocks: Sequence[tuple[int, int, int]]) -> list[int]:
    """Return offsets for blocks (first step, last step, size): the largest first, where it is free all that while."""
    offsets = [0] * len(blocks)
    placed: list[int] = []
    for i in sorted(range(len(blocks)), key=lambda i: (-blocks[i][2], blocks[i][0])):
        born, dies, size = blocks[i]
        together = [k for k in placed if blocks[k][0] <= dies and born <= blocks[k][1]]
        for k in sorted(together, key=lambda k: offsets[k]):
            if offsets[k] >= offsets[i] + size:
                break
            offsets[i] = max(offsets[i], offsets[k] + blocks[k][2])
        placed.append(i)
    return offsets


def _lives(network: Network) -> list[Life]:
    """Return when each place is needed, and what its readers need."""
    last: dict[int, int] = {}
    for step, layer in enumerate(network.layers):
        last.update((id(value), step) for value in layer.reads)
    last[id(network.output)] = len(network.layers)
    first = Life([network.input], -1, last.get(id(network.input), 0), cut=False)
    lives, found = [first], {id(network.input): first}
    for step, layer in enumerate(network.layers):
        of_x = found[id(layer.x)]
        if isinstance(layer, Convolution):
            of_x.border = max(of_x.border, layer.border())
            of_x.cut &= layer.position_wise and layer.groups == 1
        elif isinstance(layer, Pool):
            of_x.cut &= layer.window.kernel == (1, 1)
        dies = last.get(id(layer.y), step)
        over = next((value for value in layer.overwrites if last[id(value)] == step), None)
        if over is not None:
            life = found[id(over)]
            life.values.append(layer.y)
            life.dies = dies
        else:
            life = Life([layer.y], step, dies)
            lives.append(life)
        found[id(layer.y)] = life
    return lives


def shape_of(life: Life, lanes: int) -> Place:
    """Return a place that isn't placed yet."""
    value, border = life.values[0], life.border
    column = lanes * 4
    if life.cut and not border and value.width > _STRIP:
        strips = -(-value.width // _STRIP)
        strip = -(-value.width // strips)
        channel = strip * column
        row = strips * value.channels * channel
        size = value.height * row
        return Place(value, 0, -(-size // _ALIGN) * _ALIGN, 0, row, channel, 0, strip)
    if border and _collides((value.width + border) * column, value.channels):
        border += 1
    pitch = value.width + border
    if not border and _collides(pitch * column, value.channels):
        pitch += 1
    channel = pitch * column
    row = value.channels * channel
    origin = -(-(border * (row + column)) // _ALIGN) * _ALIGN
    size = origin + (value.height + border) * row
    if row * (2 * border + 2) > _FAR:
        raise InputError(f"an image of width {value.width} is too large for engine 'sparse'", "use --engine torch")
    return Place(value, 0, -(-size // _ALIGN) * _ALIGN, origin, row, channel, border, _UNCUT)


def _collides(stride: int, channels: int) -> bool:
    """Return whether channels this far apart would share a few sets of the first cache."""
    return channels > 8 and stride % 1024 == 0
