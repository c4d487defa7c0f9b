"""``mini``: the embedded backbone, a small ResNet for 32x32 images.

Basic blocks (He et al., 2016) of widths 32-64-128-256, one block a stage, after a 3x3 stem of stride 2: feature maps of
16, 8, 4 and 2 pixels at 32x32, 1.28 M parameters with a 200-class head. It was chosen for what two cores can train and
finetune in minutes (see ``docs/reference/embedded.md``), not for accuracy.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .pooled import PooledNetwork

__all__ = ["CONFIG", "MiniResNet"]


CONFIG: dict[str, Any] = {
    "input_size": (3, 32, 32),
    "pool_size": (2, 2),
    "crop_pct": 1.0,
    "interpolation": "bilinear",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "num_classes": 200,
    "first_conv": "conv1",
    "classifier": "fc",
}
"""Its configuration, in timm's terms."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut, projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H/stride, W/stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class MiniResNet(PooledNetwork):
    """A ResNet for small images.

    Parameters
    ----------
    num_classes : int
        Classes of the head ``fc``; 0 leaves the head out, so that the forward pass gives features.
    in_chans : int
        Input channels.
    widths : tuple of int
        Channels of each stage; the last one is the feature dimension.
    blocks : tuple of int
        Blocks of each stage.
    """

    default_cfg = pretrained_cfg = CONFIG

    def __init__(
        self,
        num_classes: int = 200,
        in_chans: int = 3,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        blocks: tuple[int, ...] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, widths[0], 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
            layers = []
            for block in range(count):
                layers.append(BasicBlock(inputs, width, 2 if stage > 1 and block == 0 else 1))
                inputs = width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.stages = tuple(f"layer{stage}" for stage in range(1, len(widths) + 1))
        self.add_head(widths[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` to the last feature map ``(B, d, H/16, W/16)``."""
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return x
