"""Calls that become convolutions: convolutions, norms that couldn't be folded, linear layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from .builder import Builder, NotUnderstood, is_timm, opened, out_size, pair, plain, same_padding, square
from .graph import Convolution, Value, Window


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
    if stride > 2:
        raise NotUnderstood(f"stride {stride}")
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
    return b.add(Convolution(name=name, x=source, y=y, weight=weight, bias=bias, window=window, groups=module.groups))


def norm(b: Builder, name: str, module: nn.BatchNorm2d, x: object) -> Value:
    """Apply a normalisation that couldn't be folded: one weight per channel."""
    source = plain(x)
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


def linear(b: Builder, name: str, module: nn.Linear, x: object) -> Value:
    """Apply a linear layer to a vector: a convolution whose kernel is as large as the map."""
    source = plain(x)
    if type(module).forward is not nn.Linear.forward or not (source.flat or source.height == source.width == 1):
        raise NotUnderstood("is applied to something else than one vector per image")
    weight = _array(module.weight).reshape(-1, source.channels, source.height, source.width)
    bias = np.zeros(len(weight), np.float32) if module.bias is None else _array(module.bias)
    window = Window((source.height, source.width))
    y = Value(len(weight), 1, 1, flat=True)
    return b.add(Convolution(name=name, x=source, y=y, weight=weight, bias=bias, window=window))
