"""Networks and images made up for tests of engines."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def randomise(module: nn.Module) -> nn.Module:
    """Give every batch norm statistics and an affine map that folding can't ignore."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.3, generator=source)
                layer.running_var.uniform_(0.5, 2, generator=source)
                if layer.affine:
                    layer.weight.uniform_(0.5, 1.5, generator=source)
                    layer.bias.normal_(0, 0.3, generator=source)
    return module.eval()


def prune(module: nn.Module, sparsity: float = 0.9, seed: int = 0) -> nn.Module:
    """Prune every ungrouped convolution but the first at random."""
    source = torch.Generator().manual_seed(seed)
    convs = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for conv in convs[1:]:
            if conv.groups == 1:
                keep = torch.rand(conv.weight.shape, generator=source) >= sparsity
                conv.weight.mul_(keep / max(1 - sparsity, 0.01) ** 0.5)
    return module.eval()


def images(*shape: int, seed: int = 1) -> Tensor:
    """Return normal images of a shape (B, C, H, W)."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
