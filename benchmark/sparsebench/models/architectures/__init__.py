"""Architectures that neither timm nor torchvision has; importing this package registers them with timm."""

from .mini import MiniResNet, mini
from .mobilenet_v1 import MobileNetV1, mobilenet_v1
from .resnet50_rigl import resnet50_rigl

__all__ = ["OWN", "MiniResNet", "MobileNetV1", "mini", "mobilenet_v1", "resnet50_rigl"]

OWN = frozenset({"mini", "mobilenet_v1", "resnet50_rigl"})
"""Their names; timm's configuration of each is the preprocessing that its published files were trained with."""
