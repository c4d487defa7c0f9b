"""Architectures of our own. Those in :data:`STANDALONE` need nothing but torch.

Importing :mod:`.registration` registers all of them with timm, which takes longer to import than torch.
"""

from .mini import MiniResNet
from .mobilenet_v1 import MobileNetV1

__all__ = ["OWN", "STANDALONE", "MiniResNet", "MobileNetV1"]

STANDALONE: dict[str, type[MiniResNet | MobileNetV1]] = {"mini": MiniResNet, "mobilenet_v1": MobileNetV1}
"""The classes of what is built without timm, by name."""

OWN = frozenset({*STANDALONE, "resnet50_rigl"})
"""Names of our own; the configuration of each is the preprocessing that its published files were trained with."""
