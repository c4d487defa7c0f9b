"""``mobilenet_v1``: MobileNet (Howard et al., 2017) as the sparsity literature trains it.

Thirteen depthwise-separable blocks with batch norm and plain ReLU after every convolution, where timm's
``mobilenetv1_100`` has ReLU6 and other names. The parameters are named as in IST's repositories (``model.<block>.<n>``,
``fc``); the layouts of STR and of AMC become this one when a file is read.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .pooled import PooledNetwork

__all__ = ["CONFIG", "MobileNetV1"]

CONFIG: dict[str, Any] = {
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "pool_size": (7, 7),
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "first_conv": "model.0.0",
    "classifier": "fc",
}
"""Its configuration, in timm's terms."""

BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
"""Output channels and stride of each block (Howard et al., 2017, table 1)."""


def _conv(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class MobileNetV1(PooledNetwork):
    """MobileNetV1 of width 1.

    Parameters
    ----------
    num_classes : int
        Classes of the head ``fc``; 0 leaves the head out, so that the forward pass gives ``(B, 1024)`` features.
    in_chans : int
        Input channels.
    """

    default_cfg = pretrained_cfg = CONFIG

    def __init__(self, num_classes: int = 1000, in_chans: int = 3) -> None:
        super().__init__()
        inputs = 32
        layers = [nn.Sequential(*_conv(in_chans, inputs, 3, 2))]
        for outputs, stride in BLOCKS:
            depthwise, pointwise = _conv(inputs, inputs, 3, stride, groups=inputs), _conv(inputs, outputs, 1, 1)
            layers.append(nn.Sequential(*depthwise, *pointwise))
            inputs = outputs
        self.model = nn.Sequential(*layers)
        self.add_head(inputs, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images ``(B, 3, H, W)`` to the last feature map ``(B, 1024, H/32, W/32)``."""
        result: Tensor = self.model(x)
        return result
