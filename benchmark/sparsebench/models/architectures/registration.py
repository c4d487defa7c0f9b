"""Registers our architectures with timm, so that ``timm.create_model("mini")`` and timm's tags know them, too."""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from .mini import MiniResNet
from .mobilenet_v1 import MobileNetV1
from .resnet50_rigl import resnet50_rigl

__all__ = ["mini", "mobilenet_v1", "resnet50_rigl"]

default_cfgs = generate_default_cfgs(
    {"mini.untrained": MiniResNet.default_cfg, "mobilenet_v1": MobileNetV1.default_cfg}
)


@register_model
def mini(pretrained: bool = False, **kwargs: Any) -> MiniResNet:
    """Build the embedded backbone; its weights come through ``sparsebench.load``, not through ``pretrained``."""
    model: MiniResNet = build_model_with_cfg(MiniResNet, "mini", pretrained, **kwargs)
    return model


@register_model
def mobilenet_v1(pretrained: bool = False, **kwargs: Any) -> MobileNetV1:
    """MobileNetV1, the architecture of the published sparse MobileNets."""
    model: MobileNetV1 = build_model_with_cfg(MobileNetV1, "mobilenet_v1", pretrained, **kwargs)
    return model
