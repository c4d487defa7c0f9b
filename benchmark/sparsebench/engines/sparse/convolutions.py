"""Calls that become convolutions: convolutions, norms that couldn't be folded, linear layers; and layer norms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from .arithmetic import affine
from .builder import Builder, NotUnderstood, is_timm, opened, out_size, pair, plain, same_padding, square
from .graph import Convolution, LayerNorm, Unfold, Value, Window
from .views import View, permuted, view_of, whole

_LARGEST_STRIDE = 2
"""Of the kernels; a larger one reads windows whose positions lie side by side as channels."""


def _array(tensor: torch.Tensor) -> Any:
    return np.ascontiguousarray(tensor.detach().float().numpy())


def conv(b: Builder, name: str, module: nn.Conv2d, x: object) -> Value:
    """Convolve, at stride 1 or 2."""
    source, zeros = opened(x)
    same = is_timm(module, "Conv2dSame")
    if type(module).forward is not nn.Conv2d.forward and not same:
        raise NotUnderstood("computes its own weight or padding")
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise NotUnderstood(f"padding {module.padding_mode} {module.padding}")
    if source.channels != module.in_channels or source.flat:
        raise NotUnderstood(f"expects {module.in_channels} channels, gets {source.channels}")
    kernel, dilation = pair(module.kernel_size), pair(module.dilation)
    stride = square(module.stride, "stride")
    if stride > _LARGEST_STRIDE and dilation != (1, 1):
        raise NotUnderstood(f"stride {stride}, dilated")
    if same:
        if any(zeros):
            raise NotUnderstood("pads what is padded")
        top, left, bottom, right = same_padding(source, kernel, stride, dilation)
    else:
        own = pair(module.padding)
        top, left, bottom, right = (z + own[i % 2] for i, z in enumerate(zeros))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    y = Value(
        module.out_channels,
        out_size(source.height, reach[0], stride, top + bottom),
        out_size(source.width, reach[1], stride, left + right),
    )
    weight = _array(module.weight)
    bias = np.zeros(len(weight), np.float32) if module.bias is None else _array(module.bias)
    window = Window(kernel, stride, top, left, dilation)
    if stride > _LARGEST_STRIDE:
        unfolded = y.like(source.channels * kernel[0] * kernel[1])
        source = b.add(Unfold(name=f"{name} inputs", x=source, y=unfolded, window=window))
        weight, window = weight.reshape(len(weight), -1, 1, 1), Window((1, 1))
    return b.add(Convolution(name=name, x=source, y=y, weight=weight, bias=bias, window=window, groups=module.groups))


def norm(b: Builder, name: str, module: nn.BatchNorm2d, x: object) -> object:
    """Apply a normalisation that couldn't be folded: one weight per channel."""
    source = plain(x)
    plain_norm = type(module).forward is nn.BatchNorm2d.forward or is_timm(module, "BatchNormAct2d")
    if not plain_norm or module.running_mean is None or module.running_var is None:
        raise NotUnderstood("doesn't normalise by stored statistics")
    scale = torch.rsqrt(module.running_var.double() + module.eps)
    scale = scale if module.weight is None else scale * module.weight.double()
    shift = -module.running_mean.double() * scale
    shift = shift if module.bias is None else shift + module.bias.double()
    return affine(b, name, source, _array(scale), _array(shift))


def linear(b: Builder, name: str, module: nn.Linear, x: object) -> object:
    """Apply a linear layer to a vector, or to each position.

    To a vector it is a convolution whose kernel is as large as the map, to positions one of a single position.
    """
    if type(module).forward is not nn.Linear.forward:
        raise NotUnderstood("computes its own weight")
    weight, bias = _array(module.weight), None if module.bias is None else _array(module.bias)
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    if isinstance(x, View):
        source, again = last_axis(x)
        y, window = source.like(len(weight)), Window((1, 1))
        weight = weight[:, :, None, None]
        return again(b.add(Convolution(name=name, x=source, y=y, weight=weight, bias=bias, window=window)))
    source = plain(x)
    if not (source.flat or source.height == source.width == 1):
        raise NotUnderstood("is applied to something else than channels")
    weight = weight.reshape(-1, source.channels, source.height, source.width)
    window = Window((source.height, source.width))
    y = Value(len(weight), 1, 1, flat=True)
    return b.add(Convolution(name=name, x=source, y=y, weight=weight, bias=bias, window=window))


def last_axis(x: object) -> tuple[Value, Callable[[Value], object]]:
    """Return a value whose channels torch sees as the last axis, and what gives the same view of an output."""
    if view_of(x).axes[-1].what != "channels" or len(view_of(x).channels) != 1:
        raise NotUnderstood("is applied to something else than channels")
    return whole(x)


def layer_norm(
    b: Builder, name: str, x: object, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> object:
    """Normalise over the last axis, which must be the channels."""
    source, again = last_axis(x)
    if tuple(np.atleast_1d(normalized_shape)) != (source.channels,):
        raise NotUnderstood(f"normalises over {tuple(normalized_shape)}")
    scale = np.ones(source.channels, np.float32) if weight is None else _array(weight)
    shift = np.zeros(source.channels, np.float32) if bias is None else _array(bias)
    return again(b.add(LayerNorm(name=name, x=source, y=source.like(), weight=scale, bias=shift, eps=float(eps))))


def layer_norm_module(b: Builder, name: str, module: nn.LayerNorm, x: object) -> object:
    """Normalise over channels, which are torch's last axis, or the second one in timm's layer for maps."""
    arguments = (module.normalized_shape, module.weight, module.bias, module.eps)
    if is_timm(module, "LayerNorm2d"):
        order = [0, 2, 3, 1]
        normed = layer_norm(b, name, permuted(x, order), *arguments)
        return permuted(normed, [0, 3, 1, 2])
    if type(module).forward is not nn.LayerNorm.forward and not is_timm(module, "LayerNorm"):
        raise NotUnderstood("normalises in its own way")
    return layer_norm(b, name, x, *arguments)
