"""Print which of timm's networks engine ``sparse`` runs whole, as a Markdown table: random weights and masks.

The difference is the largest one to torch over the largest value. ``--names`` takes other networks of timm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import timm
import torch
from torch import nn

from common import run_script
from sparsebench.engines.sparse import SparseEngine
from sparsebench.schema import InputError

NAMES = (
    "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "mobilenetv1_100", "mobilenetv2_100",
    "mobilenetv3_large_100", "mobilenetv3_small_100", "efficientnet_b0", "efficientnet_lite0", "regnety_004",
    "densenet121", "rexnet_100", "mnasnet_100", "hardcorenas_a", "vgg11_bn", "convnext_atto", "convnext_tiny",
    "vit_small_patch16_224", "deit_small_patch16_224", "vit_base_patch16_224", "swin_tiny_patch4_window7_224",
)  # fmt: skip


def network(name: str, sparsity: float) -> nn.Module:
    """Return a network with random weights, every convolution and linear layer but the first pruned at random.

    Batch norm is drawn, too: residual branches of timm begin with a zero there, and would compute nothing.
    """
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=0).eval()
    layers = [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for norm in (each for each in model.modules() if isinstance(each, nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1)
            norm.bias.normal_(0, 0.1)
        for layer in layers[1:]:
            layer.weight.mul_((torch.rand_like(layer.weight) >= sparsity) / max(1 - sparsity, 0.01) ** 0.5)
    return model


def row(name: str, size: int, batch: int, sparsity: float) -> str:
    """Return a network's line of the table."""
    model = network(name, sparsity)
    fixed = getattr(getattr(model, "patch_embed", None), "img_size", None)
    shape = (batch, 3, *(fixed or (size, size)))
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    try:
        found = SparseEngine(model, 1, shape, measure=False)(images)
    except InputError as error:
        return f"| {name} | no: {error.message} | |"
    with torch.inference_mode():
        expected = model(images)
    off = float((found - expected).abs().max() / expected.abs().max())
    return f"| {name} | whole | {off:.0e} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--size", type=int, default=75)
    parser.add_argument("--batch", type=int, default=3)
    parser.add_argument("--sparsity", type=float, default=0.9)
    arguments = parser.parse_args(argv)
    print("| network | engine `sparse` | difference to torch |\n|---|---|---|", flush=True)
    for name in arguments.names:
        print(row(name, arguments.size, arguments.batch, arguments.sparsity), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
