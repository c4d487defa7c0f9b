"""Published namings of known architectures, renamed to ours.

- A head that is a 1x1 convolution (STR, M-FAC): squeezed to a linear layer; its missing bias becomes zeros.
- RigL's ResNet-50, converted from TensorFlow: ``initial_conv.conv``, ``layer1.block.0.conv1.bn``, ``shortcut``.
- MobileNetV1 as AMC names it: ``conv1``, ``features.0``, ``classifier.0``.
- EfficientNet-Lite (:mod:`.lite`): ``_conv_stem``, ``_blocks.0._depthwise_conv``.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from . import lite
from .base import RawCheckpoint

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


def normalise(raw: RawCheckpoint) -> RawCheckpoint:
    """Return the checkpoint under our names, whatever layout it is in; a plain one comes back as it is."""
    layouts = [(is_rigl, rigl), (is_amc, amc), *((one.is_of, one.renamed) for one in lite.NETWORKS)]
    for fits, rename in layouts:
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
