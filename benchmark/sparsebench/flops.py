"""Multiply-adds of a forward pass, dense and with pruned weights left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .masks import PRUNABLE_TYPES


@dataclass(frozen=True)
class LayerFlops:
    """Multiply-adds of one layer for one image."""

    name: str
    dense: int
    sparse: int


def count(module: nn.Module, input_size: int) -> list[LayerFlops]:
    """Count the multiply-adds of every convolution and linear layer for one image.

    A weight is used once for each output position, so a layer costs ``positions * weights`` dense and
    ``positions * nonzero weights`` sparse.

    Parameters
    ----------
    module : nn.Module
        The network.
    input_size : int
        Height and width of its input, in pixels.
    """
    positions: dict[str, int] = {}
    layers: Mapping[str, Any] = {n: m for n, m in module.named_modules() if isinstance(m, PRUNABLE_TYPES)}

    def hook(name: str, layer: nn.Module) -> Any:
        def record(_: nn.Module, __: Any, output: Tensor) -> None:
            channels = output.shape[-1] if isinstance(layer, nn.Linear) else output.shape[1]
            positions[name] = positions.get(name, 0) + output.numel() // channels

        return record

    handles = [layer.register_forward_hook(hook(name, layer)) for name, layer in layers.items()]
    try:
        was_training = module.training
        module.eval()
        with torch.inference_mode(), torch.device("meta"):  # shapes are enough: it takes neither time nor memory
            tensors = {name: t.to("meta") for name, t in (*module.named_parameters(), *module.named_buffers())}
            functional_call(module, tensors, (torch.zeros(1, 3, input_size, input_size),))
        module.train(was_training)
    finally:
        for handle in handles:
            handle.remove()
    return [
        LayerFlops(f"{n}.weight", positions[n] * m.weight.numel(), positions[n] * int((m.weight != 0).sum()))
        for n, m in layers.items()
        if n in positions
    ]
