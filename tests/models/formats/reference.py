"""Forward passes over published state dicts as they are named there, written apart from the package's own networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

PUBLISHED = Path(__file__).parent / "published"

State = dict[str, Tensor]


def random_state(layout: str, seed: int = 0) -> State:
    """Return random tensors of the names and shapes of a published layout, scaled so that activations stay finite."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, (shape, dtype) in json.loads((PUBLISHED / f"{layout}.json").read_text()).items():
        if dtype == "int64":
            state[name] = torch.tensor(7)
        elif name.endswith("_mask"):
            state[name] = (torch.rand(shape, generator=generator) < (0.2 if "weight" in name else 2.0)).float()
        elif name.endswith("running_var"):
            state[name] = torch.rand(shape, generator=generator) + 0.5
        elif len(shape) > 1:
            fan_in = max(1, int(torch.tensor(shape[1:]).prod()))
            state[name] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        elif name.endswith("weight"):
            state[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            state[name] = torch.randn(shape, generator=generator) * 0.1
    return state


def images(size: int = 64) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def _norm(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    keys = ("running_mean", "running_var", "weight", "bias")
    mean, var, weight, bias = (state[f"{name}.{key}"].view(1, -1, 1, 1) for key in keys)
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def _head(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.weight"]
    bias = state.get(f"{name}.bias", torch.zeros(len(weight)))
    return x.mean((2, 3)) @ weight.reshape(len(weight), -1).T + bias


def resnet50(state: State, x: Tensor, rigl: bool = False) -> Tensor:
    """ResNet-50 v1.5; RigL's pads its pooling on the right and at the bottom only, and names things its own way."""

    def conv(x: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        convolution, norm = (f"{name}.conv", f"{name}.bn") if rigl else (name, norm)
        weight = state[f"{convolution}.weight"]
        return _norm(state, norm, F.conv2d(x, weight, None, stride, weight.shape[-1] // 2))

    x = F.relu(conv(x, "initial_conv" if rigl else "conv1", "bn1", 2))
    x = F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 3, 2) if rigl else F.max_pool2d(x, 3, 2, 1)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            at = f"layer{stage}.block.{block}" if rigl else f"layer{stage}.{block}"
            shortcut = x
            if block == 0:
                projection = f"{at}.shortcut" if rigl else f"{at}.downsample.0"
                shortcut = conv(x, projection, f"{at}.downsample.1", stride)
            y = F.relu(conv(x, f"{at}.conv1", f"{at}.bn1"))
            y = F.relu(conv(y, f"{at}.conv2", f"{at}.bn2", stride))
            x = F.relu(conv(y, f"{at}.conv3", f"{at}.bn3") + shortcut)
    return _head(state, "fc", x)


def mobilenet(state: State, x: Tensor, amc: bool = False) -> Tensor:
    """MobileNetV1 with ReLU, in the naming of IST and STR, or of AMC."""
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    stem = "conv1" if amc else "model.0"
    x = F.relu(_norm(state, f"{stem}.1", F.conv2d(x, state[f"{stem}.0.weight"], None, 2, 1)))
    for block, stride in enumerate(strides):
        at = f"features.{block}" if amc else f"model.{block + 1}"
        depthwise = F.conv2d(x, state[f"{at}.0.weight"], None, stride, 1, groups=x.shape[1])
        x = F.relu(_norm(state, f"{at}.1", depthwise))
        x = F.relu(_norm(state, f"{at}.4", F.conv2d(x, state[f"{at}.3.weight"])))
    return _head(state, "classifier.0" if amc else "fc", x)


FORWARD: dict[str, Callable[[State, Tensor], Tensor]] = {
    "resnet50": resnet50,
    "resnet50_str": resnet50,
    "resnet50_rigl": lambda state, x: resnet50(state, x, rigl=True),
    "mobilenet": mobilenet,
    "mobilenet_str": mobilenet,
    "mobilenet_amc": lambda state, x: mobilenet(state, x, amc=True),
}
"""By the name that IST's repositories give an architecture."""
