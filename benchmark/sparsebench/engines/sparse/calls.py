"""What the sparse engine understands: a table from modules, functions and methods to the layers that they become."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import nn

from .graph import Clamp, Convolution, Elementwise, Layer, Mean, Pool, Value, Window


class NotUnderstood(Exception):  # noqa: N818 - becomes an error where the layer's name is known
    """A call, or an option of it, that no layer stands for."""


@dataclass(frozen=True)
class Padded:
    """A value in zeros: (above, left, below, right). The layer that reads it takes them into its own padding."""

    value: Value
    zeros: tuple[int, int, int, int]


class Builder:
    """Collects the layers in the order of their calls."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def add(self, layer: Layer) -> Value:
        """Enter a layer; return its output."""
        self.layers.append(layer)
        return layer.y


def _plain(x: object) -> Value:
    if not isinstance(x, Value):
        raise NotUnderstood("reads something else than one map")
    return x


def _opened(x: object) -> tuple[Value, tuple[int, int, int, int]]:
    return (x.value, x.zeros) if isinstance(x, Padded) else (_plain(x), (0, 0, 0, 0))


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, tuple | list) else (value, value)
    return int(first), int(second)


def _square(value: Any, what: str) -> int:
    first, second = _pair(value)
    if first != second or first < 1:
        raise NotUnderstood(f"{what} {value}")
    return first


def _size(length: int, kernel: int, stride: int, zeros: int, *, ceil: bool = False, before: int = 0) -> int:
    """Return the length of an output; torch's ceil mode drops a window that would start beyond the input."""
    free = length + zeros - kernel
    if free < 0:
        raise NotUnderstood(f"its window is larger than its input ({length} + {zeros} zeros)")
    if not ceil:
        return free // stride + 1
    count = -(-free // stride) + 1
    return count - 1 if (count - 1) * stride >= length + before else count


def _same(x: Value, kernel: tuple[int, int], stride: int, dilation: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return TensorFlow's SAME padding: what lets the output be the input over the stride, the odd zero at the end."""
    totals = []
    for length, k, d in zip((x.height, x.width), kernel, dilation, strict=True):
        totals.append(max(0, (-(-length // stride) - 1) * stride + (k - 1) * d + 1 - length))
    (tall, wide) = totals
    return tall // 2, wide // 2, tall - tall // 2, wide - wide // 2


def _is_timm(module: nn.Module, *names: str) -> bool:
    return type(module).__module__.startswith("timm.") and type(module).__name__ in names


def _array(tensor: torch.Tensor) -> Any:
    return np.ascontiguousarray(tensor.detach().float().numpy())


def _conv(b: Builder, name: str, module: nn.Conv2d, x: object) -> Value:
    source, zeros = _opened(x)
    same = _is_timm(module, "Conv2dSame")
    if type(module).forward is not nn.Conv2d.forward and not same:
        raise NotUnderstood("computes its own weight or padding")
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise NotUnderstood(f"padding {module.padding_mode} {module.padding}")
    if source.channels != module.in_channels or source.flat:
        raise NotUnderstood(f"expects {module.in_channels} channels, gets {source.channels}")
    kernel, dilation = _pair(module.kernel_size), _pair(module.dilation)
    stride = _square(module.stride, "stride")
    if stride > 2:
        raise NotUnderstood(f"stride {stride}")
    if same:
        if any(zeros):
            raise NotUnderstood("pads what is padded")
        top, left, bottom, right = _same(source, kernel, stride, dilation)
    else:
        own = _pair(module.padding)
        top, left, bottom, right = (z + own[i % 2] for i, z in enumerate(zeros))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    y = Value(
        module.out_channels,
        _size(source.height, reach[0], stride, top + bottom),
        _size(source.width, reach[1], stride, left + right),
    )
    weight = _array(module.weight)
    bias = np.zeros(len(weight), np.float32) if module.bias is None else _array(module.bias)
    window = Window(kernel, stride, top, left, dilation)
    return b.add(Convolution(name=name, x=source, y=y, weight=weight, bias=bias, window=window, groups=module.groups))


def _norm(b: Builder, name: str, module: nn.BatchNorm2d, x: object) -> Value:
    """Apply a normalisation that couldn't be folded: one weight a channel."""
    source = _plain(x)
    if type(module).forward is not nn.BatchNorm2d.forward or module.running_mean is None or module.running_var is None:
        raise NotUnderstood("doesn't normalise by stored statistics")
    scale = torch.rsqrt(module.running_var.double() + module.eps)
    scale = scale if module.weight is None else scale * module.weight.double()
    shift = -module.running_mean.double() * scale
    shift = shift if module.bias is None else shift + module.bias.double()
    y = Value(source.channels, source.height, source.width)
    weight = _array(scale.float()[:, None, None, None])
    window, groups = Window((1, 1)), source.channels
    return b.add(Convolution(name=name, x=source, y=y, weight=weight, bias=_array(shift), window=window, groups=groups))


def _linear(b: Builder, name: str, module: nn.Linear, x: object) -> Value:
    """Apply a linear layer to a vector: a convolution whose kernel is as large as the map."""
    source = _plain(x)
    if type(module).forward is not nn.Linear.forward or not (source.flat or source.height == source.width == 1):
        raise NotUnderstood("is applied to something else than one vector an image")
    weight = _array(module.weight).reshape(-1, source.channels, source.height, source.width)
    bias = np.zeros(len(weight), np.float32) if module.bias is None else _array(module.bias)
    window = Window((source.height, source.width))
    y = Value(len(weight), 1, 1, flat=True)
    return b.add(Convolution(name=name, x=source, y=y, weight=weight, bias=bias, window=window))


def _pool(b: Builder, name: str, x: object, kind: str, **o: Any) -> Value:
    source, zeros = _opened(x)
    kernel = _pair(o["kernel_size"])
    stride = _square(o.get("stride") or kernel, "stride")
    ceil = bool(o.get("ceil_mode", False))
    if _pair(o.get("dilation", 1)) != (1, 1) or o.get("divisor_override") or o.get("return_indices"):
        raise NotUnderstood("dilation, divisor_override or return_indices")
    own = _pair(o.get("padding", 0))
    if any(zeros) and (kind != "max" or ceil or any(own)):
        raise NotUnderstood("pads what is padded")
    top, left, bottom, right = o.get("same") or (z + own[i % 2] for i, z in enumerate(zeros))
    outside = any(zeros) if kind == "max" else not o.get("count_include_pad", True)
    y = Value(
        source.channels,
        _size(source.height, kernel[0], stride, top + bottom, ceil=ceil, before=top),
        _size(source.width, kernel[1], stride, left + right, ceil=ceil, before=left),
    )
    limits = (source.height + bottom, source.width + right)
    window = Window(kernel, stride, top, left)
    return b.add(Pool(name=name, x=source, y=y, kind=kind, window=window, outside=outside, limits=limits))


def _max_module(b: Builder, name: str, m: nn.MaxPool2d, x: object) -> Value:
    options = {
        k: getattr(m, k) for k in ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    }
    if type(m).forward is not nn.MaxPool2d.forward:
        if not _is_timm(m, "MaxPool2dSame"):
            raise NotUnderstood
        kernel, stride = _pair(m.kernel_size), _square(m.stride, "stride")
        options |= {"padding": 0, "same": _same(_plain(x), kernel, stride, (1, 1))}
    return _pool(b, name, x, "max", **options)


def _avg_module(b: Builder, name: str, m: nn.AvgPool2d, x: object) -> Value:
    if type(m).forward is not nn.AvgPool2d.forward:
        raise NotUnderstood
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    return _pool(b, name, x, "avg", **{k: getattr(m, k) for k in names})


def _max(b: Builder, name: str, x: object, kernel_size: Any, stride: Any = None, padding: Any = 0, **o: Any) -> Value:
    return _pool(b, name, x, "max", kernel_size=kernel_size, stride=stride, padding=padding, **o)


def _avg(b: Builder, name: str, x: object, kernel_size: Any, stride: Any = None, padding: Any = 0, **o: Any) -> Value:
    return _pool(b, name, x, "avg", kernel_size=kernel_size, stride=stride, padding=padding, **o)


def _global(b: Builder, name: str, x: object, flat: bool) -> Value:
    source = _plain(x)
    return b.add(Mean(name=name, x=source, y=Value(source.channels, 1, 1, flat)))


def _adaptive(b: Builder, name: str, x: object, output_size: Any) -> Value:
    source = _plain(x)
    size = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    size = tuple(have if n is None else n for n, have in zip(size, (source.height, source.width), strict=True))
    if size == (source.height, source.width):
        return source
    if size != (1, 1):
        raise NotUnderstood(f"output size {output_size}")
    return _global(b, name, source, flat=False)


def _mean(b: Builder, name: str, x: object, dim: Any = None, keepdim: bool = False) -> Value:
    source = _plain(x)
    if source.flat or not isinstance(dim, tuple | list) or {d % 4 for d in dim} != {2, 3}:
        raise NotUnderstood(f"mean over {dim}")
    return _global(b, name, source, flat=not keepdim)


def _flatten(b: Builder, name: str, x: object, start_dim: int = 0, end_dim: int = -1) -> Value:
    source = _plain(x)
    if start_dim != 1 or end_dim not in (-1, 3):
        raise NotUnderstood(f"flatten from {start_dim} to {end_dim}")
    if source.flat:
        return source
    if source.height == source.width == 1:
        source.flat = True
        return source
    return b.add(Elementwise(name=name, x=source, y=Value(source.channels, source.height, source.width, flat=True)))


def _clamped(b: Builder, name: str, x: object, low: float, high: float) -> Value:
    source = _plain(x)
    y = Value(source.channels, source.height, source.width, source.flat)
    return b.add(Elementwise(name=name, x=source, y=y, clamp=Clamp(low, high)))


def _relu(b: Builder, name: str, x: object) -> Value:
    return _clamped(b, name, x, 0.0, math.inf)


def _relu6(b: Builder, name: str, x: object) -> Value:
    return _clamped(b, name, x, 0.0, 6.0)


def _hardtanh(b: Builder, name: str, x: object, min_val: float = -1.0, max_val: float = 1.0) -> Value:
    return _clamped(b, name, x, float(min_val), float(max_val))


def _clamp(b: Builder, name: str, x: object, min: float | None = None, max: float | None = None) -> Value:
    return _clamped(b, name, x, -math.inf if min is None else float(min), math.inf if max is None else float(max))


def _add(b: Builder, name: str, x: object, other: object, *, alpha: float = 1) -> Value:
    first, second = _plain(x), _plain(other)
    shapes = [(v.channels, v.height, v.width, v.flat) for v in (first, second)]
    if alpha != 1 or shapes[0] != shapes[1]:
        raise NotUnderstood("adds maps of different shapes")
    return b.add(Elementwise(name=name, x=first, y=Value(*shapes[0]), residual=second))


def _pad(b: Builder, name: str, x: object, pad: Any, mode: str = "constant", value: float | None = None) -> object:
    source = _plain(x)
    if mode != "constant" or value not in (None, 0) or len(pad) != 4 or min(pad) < 0 or source.flat:
        raise NotUnderstood(f"padding {tuple(pad)}, {mode}, {value}")
    left, right, top, bottom = (int(p) for p in pad)
    return Padded(source, (top, left, bottom, right)) if any(pad) else source


def _same_value(b: Builder, name: str, x: object, *rest: object, **options: object) -> object:
    return x


def _dropout(b: Builder, name: str, x: object, p: float = 0.5, training: bool = True) -> object:
    if training:
        raise NotUnderstood("drops at random in eval mode too")
    return x


Handler = Callable[..., object]


def _of(function: Handler, *names: str) -> Handler:
    """Return a module's handler: a function's, given the module's attributes."""
    return lambda b, name, module, x: function(b, name, x, *(getattr(module, n) for n in names))


MODULES: dict[type[nn.Module], Handler] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _norm,
    nn.Linear: _linear,
    nn.MaxPool2d: _max_module,
    nn.AvgPool2d: _avg_module,
    nn.AdaptiveAvgPool2d: _of(_adaptive, "output_size"),
    nn.Flatten: _of(_flatten, "start_dim", "end_dim"),
    nn.ReLU6: _of(_relu6),  # a Hardtanh too, so it comes first
    nn.ReLU: _of(_relu),
    nn.Hardtanh: _of(_hardtanh, "min_val", "max_val"),
    nn.ZeroPad2d: _of(_pad, "padding"),
    nn.Identity: _of(_same_value),
    nn.Dropout: _of(_same_value),
    nn.Dropout2d: _of(_same_value),
    DropPath: _of(_same_value),
}
"""Types of modules; a subclass goes by its nearest base here."""

FUNCTIONS: dict[Any, Handler] = {
    operator.add: _add,
    operator.iadd: _add,
    torch.add: _add,
    torch.relu: _relu,
    torch.relu_: _relu,
    F.relu: _relu,
    F.relu_: _relu,
    F.relu6: _relu6,
    F.hardtanh: _hardtanh,
    torch.clamp: _clamp,
    torch.flatten: _flatten,
    torch.mean: _mean,
    F.adaptive_avg_pool2d: _adaptive,
    F.max_pool2d: _max,
    torch.max_pool2d: _max,
    F.avg_pool2d: _avg,
    F.pad: _pad,
    F.dropout: _dropout,
}

METHODS: dict[Any, Handler] = {
    "add": _add,
    "add_": _add,
    "relu": _relu,
    "relu_": _relu,
    "clamp": _clamp,
    "clamp_": _clamp,
    "flatten": _flatten,
    "mean": _mean,
    "contiguous": _same_value,
}


def handler_of(module: nn.Module) -> Handler | None:
    """Return what turns a module into a layer, or None."""
    return next((MODULES[kind] for kind in type(module).__mro__ if kind in MODULES), None)
