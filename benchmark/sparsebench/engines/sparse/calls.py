"""What the sparse engine understands: a table from modules, functions and methods to the layers that they become."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .arithmetic import add, div, mul, sub
from .builder import Builder, NotUnderstood, plain
from .convolutions import conv, layer_norm, layer_norm_module, linear, norm
from .curves import gelu, hardsigmoid, hardswish, quick_gelu, sigmoid, silu
from .elementwise import clamp, dropout, hardtanh, pad, relu, relu6, same_value
from .pools import adaptive, avg_function, avg_module, max_function, max_module
from .reshaping import attention, attribute, cat, flatten, item, mean, permute, reshape, size, transpose, unbind

Handler = Callable[..., object]


def _of(function: Handler, *names: str) -> Handler:
    """Return a module's handler: a function's, given the module's attributes."""
    return lambda b, name, module, x: function(b, name, x, *(getattr(module, n) for n in names))


MODULES: dict[type[nn.Module], Handler] = {
    nn.Conv2d: conv,
    nn.BatchNorm2d: norm,
    nn.Linear: linear,
    nn.MaxPool2d: max_module,
    nn.AvgPool2d: avg_module,
    nn.AdaptiveAvgPool2d: _of(adaptive, "output_size"),
    nn.Flatten: _of(flatten, "start_dim", "end_dim"),
    nn.ReLU6: _of(relu6),  # a Hardtanh too, so it comes first
    nn.ReLU: _of(relu),
    nn.Hardtanh: _of(hardtanh, "min_val", "max_val"),
    nn.Sigmoid: _of(sigmoid),
    nn.Hardsigmoid: _of(hardsigmoid),
    nn.SiLU: _of(silu),
    nn.Hardswish: _of(hardswish),
    nn.GELU: _of(gelu, "approximate"),
    nn.LayerNorm: layer_norm_module,
    nn.ZeroPad2d: _of(pad, "padding"),
    nn.Identity: _of(same_value),
    nn.Dropout: _of(same_value),
    nn.Dropout2d: _of(same_value),
}
"""Types of modules; a subclass goes by its nearest base here."""


def _in_turn(b: Builder, name: str, modules: Iterable[nn.Module], x: object) -> object:
    for module in modules:
        handler = handler_of(module)
        if handler is None:
            raise NotUnderstood(f"holds {type(module).__name__}")
        x = handler(b, name, module, x)
    return x


def _norm_act(b: Builder, name: str, module: nn.BatchNorm2d, x: object) -> object:
    """Apply timm's normalisation with what it does afterwards."""
    return _in_turn(b, name, module.children(), norm(b, name, module, x))


def _conv_mlp(b: Builder, name: str, module: Any, x: object) -> object:
    """Apply timm's head of VGG networks, which makes a map as large as its kernel first."""
    source = plain(x)
    size = [max(module.input_kernel_size, length) for length in (source.height, source.width)]
    return _in_turn(b, name, module.children(), adaptive(b, name, source, size))


_OF_TIMM: dict[str, Handler] = {
    "DropPath": _of(same_value),
    "QuickGELU": _of(quick_gelu),
    "BatchNormAct2d": _norm_act,
    "ConvMlp": _conv_mlp,
}
"""By name: timm isn't imported for their sake."""

FUNCTIONS: dict[Any, Handler] = {
    operator.add: add,
    operator.iadd: add,
    torch.add: add,
    operator.sub: sub,
    operator.mul: mul,
    operator.imul: mul,
    operator.truediv: div,
    operator.itruediv: div,
    operator.getitem: item,
    getattr: attribute,
    torch.mul: mul,
    torch.div: div,
    torch.cat: cat,
    torch.permute: permute,
    torch.transpose: transpose,
    torch.reshape: reshape,
    torch.unbind: unbind,
    torch.sigmoid: sigmoid,
    F.sigmoid: sigmoid,
    F.hardsigmoid: hardsigmoid,
    F.silu: silu,
    F.hardswish: hardswish,
    F.gelu: gelu,
    F.layer_norm: layer_norm,
    F.scaled_dot_product_attention: attention,
    torch.relu: relu,
    torch.relu_: relu,
    F.relu: relu,
    F.relu_: relu,
    F.relu6: relu6,
    F.hardtanh: hardtanh,
    torch.clamp: clamp,
    torch.flatten: flatten,
    torch.mean: mean,
    F.adaptive_avg_pool2d: adaptive,
    F.max_pool2d: max_function,
    torch.max_pool2d: max_function,
    F.avg_pool2d: avg_function,
    F.pad: pad,
    F.dropout: dropout,
}

METHODS: dict[Any, Handler] = {
    "add": add,
    "add_": add,
    "relu": relu,
    "relu_": relu,
    "clamp": clamp,
    "clamp_": clamp,
    "flatten": flatten,
    "mean": mean,
    "contiguous": same_value,
    "mul": mul,
    "mul_": mul,
    "sub": sub,
    "div": div,
    "sigmoid": sigmoid,
    "sigmoid_": sigmoid,
    "permute": permute,
    "transpose": transpose,
    "reshape": reshape,
    "view": reshape,
    "size": size,
    "unbind": unbind,
}


def handler_of(module: nn.Module) -> Handler | None:
    """Return what turns a module into a layer, or None."""
    for kind in type(module).__mro__:
        if kind in MODULES:
            return MODULES[kind]
        if kind.__module__.startswith("timm.") and kind.__name__ in _OF_TIMM:
            return _OF_TIMM[kind.__name__]
    return None
