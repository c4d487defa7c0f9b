"""Weight gradients of convolutions with small feature maps as matrix products, which bf16 on a CPU is made for."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_MAP = 16
"""Output pixels up to which the product is the faster way: oneDNN's own gradient of 256 channels at 2x2 takes 12 times
as long, at 8x8 less (``scripts/bench_small_maps.py``)."""


def use_matrix_products(model: nn.Module) -> None:
    """Let the 2d convolutions of a model take their weights' gradients from a matrix product where maps are small.

    This holds in training under CPU autocast to bf16; at all other times a layer computes as before. The gradient is
    the same sum in another order.

    Parameters
    ----------
    model : nn.Module
        Changed in place; its state dict isn't.
    """
    layers: list[Any] = list(model.modules())
    for layer in layers:
        if _is_plain(layer):
            layer.forward = partial(_forward, layer, (layer.padding[0], layer.padding[1]))


def _is_plain(layer: Any) -> bool:
    """Say whether a layer is a convolution that computes in no way of its own."""
    return (
        type(layer) is nn.Conv2d
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.bias is None
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _forward(layer: nn.Conv2d, padding: tuple[int, int], x: Tensor) -> Tensor:
    weight = layer.weight
    if torch.is_grad_enabled() and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        sizes = zip(x.shape[2:], layer.kernel_size, layer.stride, padding, strict=True)
        height, width = ((size + 2 * pad - kernel) // stride + 1 for size, kernel, stride, pad in sizes)
        if height * width <= LARGEST_MAP:
            low = torch.get_autocast_dtype("cpu")
            out: Tensor = _Convolution.apply(x.to(low), weight.to(low), layer.stride, padding)
            return out
    return F.conv2d(x, weight, None, layer.stride, padding)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        to_input = to_weight = None
        if ctx.needs_input_grad[0]:
            needed = [True, False, False]
            to_input = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, needed
            )[0]
        if ctx.needs_input_grad[1]:
            to_weight = weight_gradient(x, gradient, weight.shape, ctx.stride, ctx.padding)
        return to_input, to_weight, None, None


def weight_gradient(
    x: Tensor, gradient: Tensor, shape: torch.Size, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Return the gradient of a convolution's weight: ``dW = dY^T P``, with ``P`` the input's patches.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
        The layer's input.
    gradient : Tensor, shape (B, O, h, w)
        The loss's gradient to the layer's output.
    shape : torch.Size
        The weight's: (O, C, kernel height, kernel width).
    stride, padding : tuple of int
        Of the layer.
    """
    outputs, channels, tall, wide = shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0])).contiguous()
    image, row, pixel, _ = padded.stride()
    batch, _, height, width = gradient.shape
    patches = padded.as_strided(
        (batch, height, width, tall, wide, channels), (image, row * stride[0], pixel * stride[1], row, pixel, 1)
    ).reshape(-1, tall * wide * channels)
    flat = gradient.permute(0, 2, 3, 1).reshape(-1, outputs)
    return (flat.t() @ patches).view(outputs, tall, wide, channels).permute(0, 3, 1, 2)
