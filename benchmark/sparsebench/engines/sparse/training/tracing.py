"""From a module in training to layers: as for inference, but batch normalisation isn't folded."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ....schema import InputError
from ..builder import Builder, NotUnderstood, is_timm, plain
from ..calls import Handler, handler_of
from ..elementwise import same_value
from ..graph import Clamp, Convolution, Curve, Elementwise, Layer, Mean, Network, Pool, Value
from ..tracing import HINT, Traced
from .graph import Norm, fuse

_TRAINED = (Convolution, Norm, Pool, Mean, Elementwise)


class Tracing(Traced):
    """A module traced as it trains; ``network`` gives its layers for a size of image.

    Parameters
    ----------
    module : nn.Module
        The backbone; it isn't copied.

    Raises
    ------
    InputError
        If it can't be traced.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._trace(module)

    def _handler_of(self, module: nn.Module) -> Handler | None:
        if isinstance(module, nn.BatchNorm2d):
            return _norm
        if isinstance(module, nn.Dropout | nn.Dropout2d) or is_timm(module, "DropPath"):
            return _dropped
        return handler_of(module)

    def _finished(self, network: Network) -> Network:
        names = [layer.name for layer in network.layers if isinstance(layer, Convolution | Norm)]
        owners = dict(self.module.named_modules())
        for layer in network.layers:
            foreign = isinstance(layer, Convolution) and not _trains(owners.get(layer.name), layer)
            if foreign or not isinstance(layer, _TRAINED):
                raise InputError(f"engine 'sparse' doesn't train layer {layer.name!r} ({type(layer).__name__})", HINT)
            if not _differentiable(layer):
                raise InputError(f"engine 'sparse' doesn't train layer {layer.name!r}: its activation or form", HINT)
            if isinstance(layer, Convolution | Norm) and names.count(layer.name) > 1:
                raise InputError(f"engine 'sparse' doesn't train layer {layer.name!r}, which is used twice", HINT)
        return fuse(network)


def _trains(module: nn.Module | None, layer: Convolution) -> bool:
    """Whether a layer's weight is its module's own: no factor per channel, no linear layer on each position."""
    return isinstance(module, nn.Conv2d) or (isinstance(module, nn.Linear) and layer.y.positions == 1)


def _differentiable(layer: Layer) -> bool:
    """Whether the backward pass knows the layer's form: no curve as activation, no constant, no uneven windows."""
    clamp, window = getattr(layer, "clamp", Clamp()), getattr(layer, "window", None)
    return clamp.curve is Curve.NONE and getattr(layer, "constant", None) is None and (not window or window.stride > 0)


def _norm(b: Builder, name: str, module: nn.BatchNorm2d, x: object) -> object:
    """Normalise by the batch; timm's layer that activates too."""
    source = plain(x)
    fused = is_timm(module, "BatchNormAct2d")
    if type(module).forward is not nn.BatchNorm2d.forward and not fused:
        raise NotUnderstood("computes something else than a batch normalisation")
    y: object = b.add(Norm(name=name, x=source, y=Value(source.channels, source.height, source.width)))
    for child in module.children() if fused else ():
        handler = handler_of(child)
        if handler is None:
            raise NotUnderstood(f"holds a {type(child).__name__}")
        y = _dropped(b, name, child, y) if isinstance(child, nn.Dropout) else handler(b, name, child, y)
    return y


def _dropped(b: Builder, name: str, module: Any, x: object) -> object:
    """Leave a value as it is, unless something would be dropped."""
    if getattr(module, "p", getattr(module, "drop_prob", 0)):
        raise NotUnderstood("drops at random")
    return same_value(b, name, x)


def check(module: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Raise InputError, which names the layer, unless the engine can train the backbone."""
    with torch.no_grad():
        Tracing(module).network(*input_shape[1:])
