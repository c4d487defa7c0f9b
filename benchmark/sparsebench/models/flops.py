"""Multiply-adds of a forward pass, dense and with pruned weights left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .architectures.pooled import PooledNetwork
from .masks import prunable

_SMALL = 256
"""Pixels up to which a small network of our own is run for real: its first run on the meta device imports much."""


@dataclass(frozen=True)
class LayerFlops:
    """Multiply-adds of one layer for one image."""

    name: str
    dense: int
    sparse: int


def count(module: nn.Module, input_size: int) -> list[LayerFlops]:
    """Count the multiply-adds of every convolution and linear layer for one image, attention's projections included.

    A weight is used once for each output position, so a layer costs ``positions * weights`` dense and
    ``positions * nonzero weights`` sparse. What attention computes without weights isn't counted.

    Parameters
    ----------
    module : nn.Module
        The network.
    input_size : int
        Height and width of its input, in pixels.
    """
    positions: dict[str, int] = {}
    weights = prunable(module)
    layers = {name.rpartition(".")[0] for name in weights}

    def hook(name: str) -> Any:
        own = [weight for weight in weights if weight.rpartition(".")[0] == name]

        def record(layer: nn.Module, _: Any, output: Any) -> None:
            attention = isinstance(layer, nn.MultiheadAttention)
            first: Tensor = output[0] if attention else output
            channels = first.shape[-1] if attention or isinstance(layer, nn.Linear) else first.shape[1]
            used = first.numel() // channels
            for weight in [*own, f"{name}.out_proj.weight"] if attention else own:  # whose layer isn't called
                positions[weight] = positions.get(weight, 0) + used

        return record

    handles = [module.get_submodule(name).register_forward_hook(hook(name)) for name in layers]
    try:
        was_training = module.training
        module.eval()
        with torch.inference_mode():
            if isinstance(module, PooledNetwork) and input_size <= _SMALL:
                module(torch.zeros(1, 3, input_size, input_size))
            else:
                _run_for_shapes(module, input_size)
        module.train(was_training)
    finally:
        for handle in handles:
            handle.remove()
    return [
        LayerFlops(name, positions[name] * weight.numel(), positions[name] * int(torch.count_nonzero(weight)))
        for name, weight in weights.items()
        if name in positions
    ]


def _run_for_shapes(module: nn.Module, input_size: int) -> None:
    """Run a network for its shapes alone, on the meta device: it takes neither time nor memory."""
    from torch.func import functional_call

    with torch.device("meta"):
        tensors = {name: t.to("meta") for name, t in (*module.named_parameters(), *module.named_buffers())}
        functional_call(module, tensors, (torch.zeros(1, 3, input_size, input_size),))
