"""Where each value lies in memory: one arena, planned once, in which values that don't live together share room."""

from __future__ import annotations

from dataclasses import dataclass

from ...schema import InputError
from .graph import Convolution, Network, Value
from .library import Arena, Map

_ALIGN = 64
_FAR = 2**31 - 1


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

    def map(self, arena: Arena) -> Map:
        """Return the structure that the kernels read."""
        address = (arena.address or 0) + self.offset + self.origin
        v = self.value
        return Map(address, self.row, self.channel, v.channels, v.height, v.width, self.border)


@dataclass(frozen=True)
class Layout:
    """The places of all values, and the arena's size in bytes."""

    places: dict[int, Place]
    size: int

    def of(self, value: Value) -> Place:
        """Return a value's place."""
        return self.places[id(value)]


def lay_out(network: Network, lanes: int) -> Layout:
    """Place every value, the largest first, at the lowest offset that is free while it lives.

    Raises
    ------
    InputError
        If an image is too large for the kernels' offsets.
    """
    borders: dict[int, int] = {}
    values: dict[int, Value] = {id(network.input): network.input}
    born: dict[int, int] = {id(network.input): -1}
    dies: dict[int, int] = {id(network.input): 0}
    for step, layer in enumerate(network.layers):
        values[id(layer.y)] = layer.y
        born[id(layer.y)] = dies[id(layer.y)] = step
        for value in layer.reads:
            dies[id(value)] = step
        if isinstance(layer, Convolution):
            borders[id(layer.x)] = max(borders.get(id(layer.x), 0), layer.border())
    dies[id(network.output)] = len(network.layers)
    places: dict[int, Place] = {}
    shapes = {key: _shape(value, borders.get(key, 0), lanes) for key, value in values.items()}
    for key in sorted(values, key=lambda k: (-shapes[k].size, born[k])):
        together = [p for k, p in places.items() if born[k] <= dies[key] and born[key] <= dies[k]]
        offset = 0
        for place in sorted(together, key=lambda p: p.offset):
            if place.offset >= offset + shapes[key].size:
                break
            offset = max(offset, place.offset + place.size)
        s = shapes[key]
        places[key] = Place(s.value, offset, s.size, s.origin, s.row, s.channel, s.border)
    return Layout(places, max(p.offset + p.size for p in places.values()))


def _shape(value: Value, border: int, lanes: int) -> Place:
    """Return a place that isn't placed yet."""
    column = lanes * 4
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
    return Place(value, 0, -(-size // _ALIGN) * _ALIGN, origin, row, channel, border)


def _collides(stride: int, channels: int) -> bool:
    """Return whether channels this far apart would share a few sets of the first cache."""
    return channels > 8 and stride % 1024 == 0
