"""What torch sees of a value, where that isn't (batch, channels, height, width): axes moved, split, merged and chosen.

A view costs nothing: the value stays where it is. Layers that work on each position by itself take any view of a whole
value whose channels are one axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .builder import NotUnderstood
from .graph import Value


class Batch(int):
    """The number of images, of which nothing may depend: 1 wherever a number is needed."""


@dataclass(frozen=True)
class Axis:
    """One axis: ``what`` is batch, channels, rows, columns or positions; ``stride`` in channels."""

    what: str
    size: int
    stride: int = 1


@dataclass(frozen=True)
class View:
    """Axes of a value; its channels begin with ``first``."""

    value: Value
    axes: tuple[Axis, ...]
    first: int = 0

    @property
    def whole(self) -> bool:
        """Whether it holds all of the value."""
        return math.prod(axis.size for axis in self.axes) == self.value.channels * self.value.positions

    def of(self, value: Value) -> object:
        """Return the same axes of another value, whose channels may be other ones where they are one axis."""
        axes = tuple(Axis("channels", value.channels) if a.what == "channels" else a for a in self.axes)
        return settled(View(value, axes if len(self.channels) == 1 else self.axes))

    @property
    def channels(self) -> list[int]:
        """The places of the axes of channels."""
        return [i for i, axis in enumerate(self.axes) if axis.what == "channels"]


BATCH = Axis("batch", Batch(1))


def view_of(x: object) -> View:
    """Return what torch sees of a value as axes."""
    if isinstance(x, View):
        return x
    if not isinstance(x, Value):
        raise NotUnderstood("reads something else than one map")
    channels = Axis("channels", x.channels)
    if x.flat:
        return View(x, (BATCH, channels))
    return View(x, (BATCH, channels, Axis("rows", x.height), Axis("columns", x.width)))


def settled(view: View) -> object:
    """Return the value itself where the axes are those that it has anyway."""
    plain = not view.value.tokens and view.axes == view_of(view.value).axes and view.first == 0
    return view.value if plain else view


def whole(x: object) -> tuple[Value, Callable[[Value], object]]:
    """Return a value of which a view holds everything, and what gives the same view of a layer's output."""
    if isinstance(x, Value):
        return x, lambda y: y
    view = view_of(x)
    if not view.whole:
        raise NotUnderstood("reads a part of a map")
    return view.value, view.of


def shape_of(x: object) -> tuple[int, ...]:
    """Return torch's shape; the batch is a :class:`Batch`."""
    axes = view_of(x).axes
    return tuple(axis.size for axis in axes)


def permuted(x: object, order: Sequence[int]) -> object:
    """Return the axes in another order."""
    view = view_of(x)
    if sorted(i % len(view.axes) for i in order) != list(range(len(view.axes))):
        raise NotUnderstood(f"order {tuple(order)} of {len(view.axes)} axes")
    return settled(View(view.value, tuple(view.axes[i] for i in order), view.first))


def reshaped(x: object, shape: Sequence[int]) -> object:
    """Return other axes over the same numbers, as far as that moves nothing."""
    view = view_of(x)
    if list(shape).count(-1) > 1 or not shape:
        raise NotUnderstood(f"shape {tuple(shape)}")
    total = math.prod(axis.size for axis in view.axes)
    known = math.prod(size for size in shape if size != -1)
    sizes = [total // max(1, known) if size == -1 and not isinstance(size, Batch) else size for size in shape]
    if view.axes[:1] != (BATCH,) or math.prod(sizes) != total:
        raise NotUnderstood(f"shape {tuple(shape)} of {shape_of(x)}")
    if not isinstance(sizes[0], Batch) and sizes[0] != 1:
        raise NotUnderstood("mixes the batch with other axes")
    axes, left = [BATCH], list(view.axes[1:])
    for size in sizes[1:]:
        axes.append(_taken(left, size, view.value))
    if left:
        raise NotUnderstood(f"shape {tuple(shape)} of {shape_of(x)}")
    return settled(View(view.value, tuple(axes), view.first))


def _taken(left: list[Axis], size: int, value: Value) -> Axis:
    """Take an axis of this size from the front of those that are left: a part of one, or several together."""
    if not left:
        raise NotUnderstood(f"an axis of {size} behind the last")
    axis = left.pop(0)
    while axis.size < size and left:
        axis = _together(axis, left.pop(0))
    if axis.size == size:
        return axis
    if axis.what == "channels" and size and axis.size % size == 0:
        rest = axis.size // size
        left.insert(0, Axis("channels", rest, axis.stride))
        return Axis("channels", size, axis.stride * rest)
    if axis.what == "positions" and not value.tokens and size == value.height:
        left.insert(0, Axis("columns", value.width))
        return Axis("rows", value.height)
    raise NotUnderstood(f"an axis of {size} out of {axis.what} ({axis.size})")


def _together(first: Axis, second: Axis) -> Axis:
    if (first.what, second.what) == ("rows", "columns"):
        return Axis("positions", first.size * second.size)
    if first.what == second.what == "channels" and first.stride == second.stride * second.size:
        return Axis("channels", first.size * second.size, second.stride)
    raise NotUnderstood(f"{first.what} and {second.what} as one axis")


def chosen(view: View, axis: int, index: int) -> View:
    """Return one place along an axis of channels; the axis is gone."""
    a = view.axes[axis]
    if a.what != "channels" or not -a.size <= index < a.size:
        raise NotUnderstood(f"index {index} of {a.what} ({a.size})")
    rest = (*view.axes[:axis], *view.axes[axis + 1 :])
    return View(view.value, rest, view.first + index % a.size * a.stride)
