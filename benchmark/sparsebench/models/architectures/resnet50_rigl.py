"""``resnet50_rigl``: RigL's ResNet-50, registered with timm.

It differs from everybody else's in one place: TensorFlow pads the max-pooling after the stem (``SAME``) on the right
and at the bottom only. Its strided convolutions are padded symmetrically, the stride in the 3x3 one, as timm's are.
Published files are renamed to timm's ResNet-50 names when they are read. Images are resized bicubically.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import Bottleneck, ResNet
from torch import nn

__all__ = ["resnet50_rigl"]

default_cfgs = generate_default_cfgs(
    {
        "resnet50_rigl": {
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bicubic",
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "first_conv": "conv1",
            "classifier": "fc",
        }
    }
)


@register_model
def resnet50_rigl(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 with TensorFlow's padding of the max-pooling (Evci et al., 2020).

    Zeros may stand for TensorFlow's minus infinity there, since the input is the output of a ReLU.
    """
    model: nn.Module = build_model_with_cfg(
        ResNet, "resnet50_rigl", pretrained, block=Bottleneck, layers=(3, 4, 6, 3), **kwargs
    )
    model.maxpool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2))
    return model
