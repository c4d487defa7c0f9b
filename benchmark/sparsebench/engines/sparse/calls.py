"""What the sparse engine understands: a table from modules, functions and methods to the layers that they become."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .convolutions import conv, linear, norm
from .elementwise import add, clamp, dropout, flatten, hardtanh, pad, relu, relu6, same_value
from .pools import adaptive, avg_function, avg_module, max_function, max_module, mean

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
    nn.ZeroPad2d: _of(pad, "padding"),
    nn.Identity: _of(same_value),
    nn.Dropout: _of(same_value),
    nn.Dropout2d: _of(same_value),
}
"""Types of modules; a subclass goes by its nearest base here."""

FUNCTIONS: dict[Any, Handler] = {
    operator.add: add,
    operator.iadd: add,
    torch.add: add,
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
}


def handler_of(module: nn.Module) -> Handler | None:
    """Return what turns a module into a layer, or None."""
    for kind in type(module).__mro__:
        if kind in MODULES:
            return MODULES[kind]
        if kind.__name__ == "DropPath" and kind.__module__.startswith("timm."):  # timm isn't imported for its sake
            return _of(same_value)
    return None
