"""Calls that look at a value in another way: shapes, orders of axes, parts, several put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .arithmetic import spread
from .builder import Builder, NotUnderstood, plain
from .graph import Attention, Concat, Elementwise, Mean, Slice, Tokens, Value
from .views import BATCH, Axis, Batch, View, chosen, permuted, reshaped, shape_of, view_of, whole

_WIDEST = 8
_MOST_TOKENS = 1024
"""Of an attention (``SPB_TOKENS_MOST``)."""


def attribute(b: Builder, name: str, x: object, which: str, *rest: object) -> object:
    """Read a tensor's shape."""
    if which == "shape":
        return shape_of(x)
    if which == "ndim":
        return len(shape_of(x))
    raise NotUnderstood(f"reads {which}")


def size(b: Builder, name: str, x: object, dim: int | None = None) -> object:
    """Read a tensor's shape, or one length of it."""
    return shape_of(x) if dim is None else shape_of(x)[dim]


def flatten(b: Builder, name: str, x: object, start_dim: int = 0, end_dim: int = -1) -> object:
    """Make one axis of several: one vector per image, or the positions of a map."""
    shape = shape_of(x)
    end = end_dim % len(shape)
    if start_dim != 1 or end != len(shape) - 1 or isinstance(x, View):
        return reshaped(x, (*shape[:start_dim], math.prod(shape[start_dim : end + 1]), *shape[end + 1 :]))
    source = plain(x)
    if source.flat:
        return source
    if source.height == source.width == 1:
        source.flat = True
        return source
    return b.add(Elementwise(name=name, x=source, y=Value(source.channels, source.height, source.width, flat=True)))


def reshape(b: Builder, name: str, x: object, *shape: Any) -> object:
    """Split and merge axes."""
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    if isinstance(x, Value) and len(sizes) == 2 and (isinstance(sizes[0], Batch) or sizes[0] == 1):
        return flatten(b, name, x, 1)
    return reshaped(x, sizes)


def permute(b: Builder, name: str, x: object, *order: Any) -> object:
    """Put the axes into another order."""
    return permuted(x, tuple(order[0]) if len(order) == 1 and isinstance(order[0], tuple | list) else order)


def transpose(b: Builder, name: str, x: object, first: int, second: int) -> object:
    """Exchange two axes."""
    order = list(range(len(shape_of(x))))
    order[first], order[second] = order[second], order[first]
    return permuted(x, order)


def unbind(b: Builder, name: str, x: object, dim: int = 0) -> object:
    """Take an axis of channels apart."""
    view = view_of(x)
    return tuple(chosen(view, dim % len(view.axes), i) for i in range(view.axes[dim].size))


def item(b: Builder, name: str, x: object, index: Any) -> object:
    """Take some channels, tokens, or one place along an axis of channels."""
    if isinstance(x, tuple | list):
        return x[index]
    view = view_of(x)
    parts = [part for part in (index if isinstance(index, tuple) else (index,)) if part is not Ellipsis]
    at = [i for i, part in enumerate(parts) if part != slice(None)]
    if not at:
        return x
    if len(at) != 1 or (isinstance(index, tuple) and Ellipsis in index):
        raise NotUnderstood(f"takes {index}")
    axis, part = view.axes[at[0]], parts[at[0]]
    if isinstance(part, int) and axis.what == "channels":
        return chosen(view, at[0], part)
    if isinstance(part, int):
        first, count, step = part % max(1, axis.size), 1, 1
        inside = -axis.size <= part < axis.size
    else:
        first, last, step = part.indices(axis.size)
        count, inside = last - first, last > first
    if step != 1 or not inside:
        raise NotUnderstood(f"takes {index}")
    if axis.what == "channels" and isinstance(x, Value) and not x.flat:
        return b.add(Slice(name=name, x=x, y=x.like(count), first=first))
    if axis.what != "positions" or [a.what for a in view.axes] != ["batch", "positions", "channels"]:
        raise NotUnderstood(f"takes {index} of {axis.what}")
    source, _ = whole(x)
    if isinstance(part, int):
        return b.add(Tokens(name=name, x=source, y=Value(source.channels, 1, 1, flat=True), shift=-first))
    return _tokens(b.add(Tokens(name=name, x=source, y=_packed(source.channels, count), shift=-first)))


def cat(b: Builder, name: str, tensors: Sequence[object], dim: int = 0) -> object:
    """Put channels one after another, or constant tokens before others."""
    if dim == 1 and all(isinstance(each, Value) for each in tensors):
        values = [plain(each) for each in tensors]
        first = values[0]
        if any((v.height, v.width, v.flat) != (first.height, first.width, first.flat) for v in values):
            raise NotUnderstood("maps of different sizes")
        y = first.like(sum(v.channels for v in values))
        return b.add(Concat(name=name, x=first, y=y, others=values[1:]))
    *before, last = tensors
    source, _ = whole(last)
    kinds = [axis.what for axis in view_of(last).axes]
    if dim not in (1, -2) or kinds != ["batch", "positions", "channels"]:
        raise NotUnderstood("puts together something else than channels, or constant tokens and others")
    if not all(isinstance(each, Tensor) and each.ndim == 3 for each in before):
        raise NotUnderstood("tokens that are computed")
    constant = torch.cat([each.detach().float() for each in before if isinstance(each, Tensor)], 1)
    shift = constant.shape[1]
    y = _packed(source.channels, source.positions + shift)
    padded = torch.nn.functional.pad(constant, (0, 0, 0, source.positions))
    view = _tokens(y)
    return _tokens(b.add(Tokens(name=name, x=source, y=y, shift=shift, constant=spread(view, padded))))


def mean(b: Builder, name: str, x: object, dim: Any = None, keepdim: bool = False) -> object:
    """Take the mean over all positions."""
    view = view_of(x)
    dims = {d % len(view.axes) for d in (dim if isinstance(dim, tuple | list) else () if dim is None else (dim,))}
    positions = {i for i, axis in enumerate(view.axes) if axis.what in ("rows", "columns", "positions")}
    if not positions or dims != positions or (keepdim and not isinstance(x, Value)):
        raise NotUnderstood(f"mean over {dim}")
    source, _ = whole(x)
    return b.add(Mean(name=name, x=source, y=Value(source.channels, 1, 1, not keepdim)))


def attention(
    b: Builder, name: str, query: object, key: object, value: object, attn_mask: object = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> object:  # fmt: skip
    """Mix tokens by softmax(scale Q K') V, where the three come from one layer, one after another."""
    views = [view_of(each) for each in (query, key, value)]
    q = views[0]
    if attn_mask is not None or dropout_p or is_causal or enable_gqa or len(q.axes) != 4:
        raise NotUnderstood("masks, drops or shares")
    _, heads, tokens, size = q.axes
    source, channels = q.value, heads.size * size.size
    wanted = (
        BATCH,
        Axis("channels", heads.size, size.size),
        Axis("positions", source.positions),
        Axis("channels", size.size),
    )
    if any(v.value is not source or v.axes != wanted or v.first != i * channels for i, v in enumerate(views)):
        raise NotUnderstood("queries, keys and values that don't lie one after another in one layer's output")
    if source.channels != 3 * channels or tokens.size > _MOST_TOKENS:
        raise NotUnderstood(f"{tokens.size} tokens, more than {_MOST_TOKENS}")
    factor = size.size**-0.5 if scale is None else float(scale)
    y = b.add(Attention(name=name, x=source, y=source.like(channels), heads=heads.size, scale=factor))
    return View(y, wanted)


def _packed(channels: int, count: int) -> Value:
    """Return a value for tokens: rows of so many columns that few places stay empty."""
    width = min(range(1, _WIDEST + 1), key=lambda w: (-(-count // w) * (w + 2.5), -w))
    return Value(channels, -(-count // width), width, tokens=count)


def _tokens(value: Value) -> View:
    return View(value, (BATCH, Axis("positions", value.positions), Axis("channels", value.channels)))
