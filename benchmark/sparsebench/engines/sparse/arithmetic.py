"""Calls that add and multiply: two maps, or a map and constants."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .builder import Builder, NotUnderstood
from .graph import Convolution, Elementwise, Floats, Scale, Value, Window
from .views import View, view_of, whole

Constant = int | float | Tensor


def add(b: Builder, name: str, x: object, other: object, *, alpha: float = 1) -> object:
    """Add two maps of the same shape, or a constant."""
    if isinstance(x, Constant):
        x, other = other, x
    if alpha != 1:
        raise NotUnderstood(f"alpha {alpha}")
    if isinstance(other, Constant):
        return _shifted(b, name, x, other)
    (first, again), (second, _) = whole(x), whole(other)
    if view_of(x).axes != view_of(other).axes:
        raise NotUnderstood("adds maps of different shapes")
    return again(b.add(Elementwise(name=name, x=first, y=first.like(), residual=second)))


def sub(b: Builder, name: str, x: object, other: object) -> object:
    """Subtract a constant."""
    if not isinstance(other, Constant):
        raise NotUnderstood("subtracts a map")
    return _shifted(b, name, x, -other)


def mul(b: Builder, name: str, x: object, other: object) -> object:
    """Multiply two maps, of which one may be of one position, or a map and one constant per channel."""
    if isinstance(x, Constant):
        x, other = other, x
    if isinstance(other, Constant):
        return affine(b, name, x, per_channel(x, other), 0.0)
    (first, again), (second, other_again) = whole(x), whole(other)
    if first.height == first.width == 1 and not second.height == second.width == 1:
        first, second, again = second, first, other_again
    one = second.height == second.width == 1 and isinstance(x, Value) and isinstance(other, Value)
    if not (one and first.channels == second.channels and not (first.flat or second.flat)) and (
        view_of(x).axes != view_of(other).axes
    ):
        raise NotUnderstood("multiplies maps of different shapes")
    return again(b.add(Scale(name=name, x=first, y=first.like(), residual=second)))


def div(b: Builder, name: str, x: object, other: object) -> object:
    """Divide by one constant per channel."""
    if not isinstance(other, Constant):
        raise NotUnderstood("divides by a map")
    return affine(b, name, x, np.reciprocal(per_channel(x, other)), 0.0)


def affine(b: Builder, name: str, x: object, scale: float | Floats, shift: float | Floats) -> object:
    """Multiply each channel by a number and add another: a convolution of one weight per channel."""
    source, again = whole(x)
    channels = source.channels
    weight = np.broadcast_to(np.asarray(scale, np.float32), (channels,)).reshape(-1, 1, 1, 1)
    bias = np.ascontiguousarray(np.broadcast_to(np.asarray(shift, np.float32), (channels,)))
    window = Window((1, 1))
    weight = np.ascontiguousarray(weight)
    y = source.like()
    layer = Convolution(name=name, x=source, y=y, weight=weight, bias=bias, window=window, groups=channels)
    return again(b.add(layer))


def _shifted(b: Builder, name: str, x: object, constant: Constant) -> object:
    view = view_of(x)
    if not isinstance(constant, Tensor) or constant.numel() == 1 or _of_channels(view, constant):
        return affine(b, name, x, 1.0, per_channel(x, constant))
    source, again = whole(x)
    numbers = spread(view, constant)
    return again(b.add(Elementwise(name=name, x=source, y=source.like(), constant=numbers)))


def per_channel(x: object, constant: Constant) -> Floats:
    """Return one number per channel of a map."""
    view = view_of(x)
    numbers = torch.as_tensor(constant).detach().float()
    if numbers.numel() == 1:
        return np.full(view.value.channels, float(numbers), np.float32)
    if not _of_channels(view, numbers):
        raise NotUnderstood(f"one number per channel, not {tuple(numbers.shape)}")
    return np.ascontiguousarray(numbers.reshape(-1).numpy())


def _of_channels(view: View, constant: Tensor) -> bool:
    """Whether a tensor varies along the axis of channels alone."""
    if len(view.channels) != 1 or constant.ndim > len(view.axes):
        return False
    sizes = [1] * (len(view.axes) - constant.ndim) + list(constant.shape)
    at = view.channels[0]
    return sizes[at] == view.value.channels and all(size == 1 for i, size in enumerate(sizes) if i != at)


def spread(view: View, constant: Tensor) -> Floats:
    """Return a tensor that goes with a view as (rows, channels, columns), zeros behind the last token."""
    value = view.value
    if len(view.channels) != 1 or constant.ndim > len(view.axes):
        raise NotUnderstood(f"adds a tensor of shape {tuple(constant.shape)}")
    numbers = constant.detach().float().expand([axis.size for axis in view.axes])
    numbers = numbers.movedim(view.channels[0], 0).reshape(value.channels, -1)
    order = [axis.what for axis in view.axes if axis.what in ("rows", "columns", "positions")]
    if order not in (["positions"], ["rows", "columns"]):
        raise NotUnderstood("adds a tensor to columns before rows")
    places = value.height * value.width
    padded = torch.nn.functional.pad(numbers, (0, places - numbers.shape[1]))
    return np.ascontiguousarray(padded.reshape(-1, value.height, value.width).transpose(0, 1).numpy())
