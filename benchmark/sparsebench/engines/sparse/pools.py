"""Calls that become pools."""

from __future__ import annotations

from typing import Any

from torch import nn

from .builder import Builder, NotUnderstood, is_timm, opened, out_size, pair, plain, same_padding, square
from .graph import Mean, Pool, Value, Window


def _pool(b: Builder, name: str, x: object, kind: str, **o: Any) -> Value:
    source, zeros = opened(x)
    kernel = pair(o["kernel_size"])
    stride = square(o.get("stride") or kernel, "stride")
    ceil = bool(o.get("ceil_mode", False))
    if pair(o.get("dilation", 1)) != (1, 1) or o.get("divisor_override") or o.get("return_indices"):
        raise NotUnderstood("dilation, divisor_override or return_indices")
    own = pair(o.get("padding", 0))
    if any(zeros) and (kind != "max" or ceil or any(own)):
        raise NotUnderstood("pads what is padded")
    top, left, bottom, right = o.get("same") or (z + own[i % 2] for i, z in enumerate(zeros))
    outside = any(zeros) if kind == "max" else not o.get("count_include_pad", True)
    y = Value(
        source.channels,
        out_size(source.height, kernel[0], stride, top + bottom, ceil=ceil, before=top),
        out_size(source.width, kernel[1], stride, left + right, ceil=ceil, before=left),
    )
    limits = (source.height + bottom, source.width + right)
    window = Window(kernel, stride, top, left)
    return b.add(Pool(name=name, x=source, y=y, kind=kind, window=window, outside=outside, limits=limits))


def max_module(b: Builder, name: str, m: nn.MaxPool2d, x: object) -> Value:
    """Pool by a maximum; timm's layer that pads as TensorFlow does too."""
    options = {
        k: getattr(m, k) for k in ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    }
    if type(m).forward is not nn.MaxPool2d.forward:
        if not is_timm(m, "MaxPool2dSame"):
            raise NotUnderstood
        kernel, stride = pair(m.kernel_size), square(m.stride, "stride")
        options |= {"padding": 0, "same": same_padding(plain(x), kernel, stride, (1, 1))}
    return _pool(b, name, x, "max", **options)


def avg_module(b: Builder, name: str, m: nn.AvgPool2d, x: object) -> Value:
    """Pool by an average."""
    if type(m).forward is not nn.AvgPool2d.forward:
        raise NotUnderstood
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    return _pool(b, name, x, "avg", **{k: getattr(m, k) for k in names})


def max_function(
    b: Builder, name: str, x: object, kernel_size: Any, stride: Any = None, padding: Any = 0, **o: Any
) -> Value:
    """Pool by a maximum, as torch's functions do."""
    return _pool(b, name, x, "max", kernel_size=kernel_size, stride=stride, padding=padding, **o)


def avg_function(
    b: Builder, name: str, x: object, kernel_size: Any, stride: Any = None, padding: Any = 0, **o: Any
) -> Value:
    """Pool by an average, as torch's functions do."""
    return _pool(b, name, x, "avg", kernel_size=kernel_size, stride=stride, padding=padding, **o)


def adaptive(b: Builder, name: str, x: object, output_size: Any) -> Value:
    """Pool to so many positions by an average; a map of the size asked for stays as it is."""
    source = plain(x)
    size = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    size = tuple(have if n is None else n for n, have in zip(size, (source.height, source.width), strict=True))
    if size == (source.height, source.width):
        return source
    if size == (1, 1):
        return b.add(Mean(name=name, x=source, y=Value(source.channels, 1, 1)))
    y, window = Value(source.channels, *size), Window((0, 0), stride=0)
    return b.add(Pool(name=name, x=source, y=y, kind="avg", window=window, outside=True))
