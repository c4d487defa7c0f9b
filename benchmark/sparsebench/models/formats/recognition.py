"""The architecture of a state dict that doesn't name it, recognised by its tensors.

The candidates are those of published sparse checkpoints. Names and shapes must all agree, but for the head's, so that a
file finetuned to other classes is recognised too.
"""

from __future__ import annotations

from functools import cache

import torch

from .. import backbones
from .base import State, is_number

CANDIDATES = (
    "resnet50",
    "resnet18",
    "resnet34",
    "resnet101",
    "wide_resnet50_2",
    "mobilenet_v1",
    "torchvision/vit_b_16",
    "tf_efficientnet_lite0",
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
    "efficientnet_es",
    "efficientnet_el",
    "mobilenetv1_100",
    "torchvision/vgg16_bn",
    "torchvision/mobilenet_v3_large",
    "torchvision/mobilenet_v3_small",
    "deit_small_patch16_224",
    "mini",
)
"""In the order they are tried. RigL's ResNet-50 isn't here: under our names its tensors are any ResNet-50's. DeiT-S
stands for ViT-S, too, which has its tensors."""

Shapes = frozenset[tuple[str, tuple[int, ...]]]


def recognise(state: State) -> str | None:
    """Return the architecture whose tensors these are, None if it is none of :data:`CANDIDATES`."""
    for arch in CANDIDATES:
        wanted, head = _signature(arch)
        if _shapes(state, head) == wanted:
            return arch
    return None


@cache
def _signature(arch: str) -> tuple[Shapes, str]:
    architecture = backbones.find(arch)[0]
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = backbones.build(architecture, 2)
    head = backbones.head_name(model, architecture)
    return _shapes(model.state_dict(), head), head


def _shapes(state: State, head: str) -> Shapes:
    return frozenset(
        (name, tuple(value.shape))
        for name, value in state.items()
        if not name.endswith("num_batches_tracked") and not name.startswith(f"{head}.") and not is_number(name, value)
    )
