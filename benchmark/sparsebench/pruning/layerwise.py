"""Layers as matrices: their weights and the inputs that calibration images give them, one layer after the other.

A convolution is a matrix over patches. Columns are ordered by kernel position, then input channel, so that the
groups of an N:M pattern are consecutive columns. The groups of a grouped convolution are matrices of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn

from ..schema import InputError
from .distributions import masks_for

Layer = nn.Linear | nn.Conv2d


def plain_layer(model: nn.Module, name: str) -> Layer:
    """Return a layer that is a plain matrix product of its inputs.

    Raises
    ------
    InputError
        If it isn't: a class of its own may change its weights or inputs in ways unknown here.
    """
    layer = model.get_submodule(name)
    plain = type(layer) in (nn.Linear, nn.Conv2d, Conv2dSame) and getattr(layer, "padding_mode", "zeros") == "zeros"
    if not plain or not isinstance(layer, nn.Linear | nn.Conv2d):
        raise InputError(
            f"layer {name} ({type(layer).__name__}) is neither a linear layer nor a plain convolution",
            f"leave it dense: --exempt {name} (with the others that stay dense)",
        )
    return layer


def matrix(layer: Layer) -> Tensor:
    """Return a layer's weight as ``(groups, outputs, columns)``, detached; a copy where the order changes."""
    weight: Tensor = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        return weight[None]
    rows = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
    return rows.view(layer.groups, -1, rows.shape[1])


def unmatrix(layer: Layer, rows: Tensor) -> Tensor:
    """Return the inverse of :func:`matrix`: a tensor of the weight's shape."""
    if isinstance(layer, nn.Linear):
        return rows[0]
    out, channels, height, width = layer.weight.shape
    return rows.reshape(out, height, width, channels).permute(0, 3, 1, 2).contiguous()


def columns(layer: Layer, inputs: Tensor) -> Tensor:
    """Return a layer's inputs as ``(groups, samples, columns)``: a sample is a patch, a token or an image."""
    inputs = inputs.detach().float()
    if isinstance(layer, nn.Linear):
        return inputs.reshape(1, -1, inputs.shape[-1])
    if isinstance(layer, Conv2dSame):
        inputs = pad_same(inputs, layer.kernel_size, layer.stride, layer.dilation)
    elif layer.padding == "same":
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        inputs = F.pad(inputs, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
    padding = 0 if isinstance(layer.padding, str) else layer.padding
    patches = F.unfold(inputs, layer.kernel_size, layer.dilation, padding, layer.stride)
    count, positions = layer.in_channels // layer.groups, patches.shape[1] // layer.in_channels
    patches = patches.view(len(inputs), layer.groups, count, positions, -1)
    return patches.permute(1, 0, 4, 3, 2).reshape(layer.groups, -1, positions * count)


def layer_counts(
    weights: Mapping[str, Tensor], sparsity: float, distribution: str, nm: tuple[int, int] | None
) -> dict[str, int]:
    """Return how many weights each layer keeps: by its share under a distribution, ``global`` by magnitudes."""
    masks = masks_for({name: w.detach().abs() for name, w in weights.items()}, sparsity, distribution, nm)
    return {name: int(mask.sum()) for name, mask in masks.items()}
