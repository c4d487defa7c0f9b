"""RigL's published TensorFlow checkpoints: ResNet-50 and MobileNetV1, to our names.

Weights lie as height, width, input, output beside their masks; batch norms are numbered in the order in which the
network was built: the projection of a block before its other layers. The optimizer's slots and averages aren't needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...schema import CheckpointError
from .base import RawCheckpoint
from .budget import Budget
from .tensorflow_bundle import read_bundle

_ROOT = "resnet_model/"
_BLOCKS = (3, 4, 6, 3)
_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_MOBILENET_BLOCKS = 13


def read(path: Path, budget: Budget, wanted: str | None = None) -> RawCheckpoint:
    """Read one of RigL's published files; masks and pruned weights lie there in float32, compressed."""
    return convert(read_bundle(path, replace(budget, limit=budget.limit * 2)))  # they unpack to twice the usual ratio


def convert(tensors: Mapping[str, Tensor]) -> RawCheckpoint:
    """Return a RigL checkpoint's weights and masks under our names.

    Raises
    ------
    CheckpointError
        If the variables are not those of RigL's ResNet-50 or MobileNetV1.
    """
    mobile = any(name.startswith(f"{_ROOT}contraction_1x1_0/") for name in tensors)
    layers = list(_mobilenet() if mobile else _resnet())
    state: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    used: set[str] = set()
    for number, (scope, layer, norm) in enumerate(layers):
        weight = _take(tensors, used, scope, "weights", "kernel", "depthwise_weights")
        mask = _take(tensors, used, scope, "mask", needed=False)
        swap = "depthwise" in scope
        state[f"{layer}.weight"] = _to_torch(weight, swap)
        if mask is not None:
            masks[f"{layer}.weight"] = _to_torch(mask, swap) != 0
        norm_scope = "batch_normalization" + (f"_{number}" if number else "")
        for theirs, ours in _BATCH_NORM.items():
            state[f"{norm}.{ours}"] = _take(tensors, used, norm_scope, theirs)
    state["fc.weight"] = _take(tensors, used, "final_dense", "weights", "kernel").T.contiguous()
    state["fc.bias"] = _take(tensors, used, "final_dense", "biases", "bias")
    mask = _take(tensors, used, "final_dense", "mask", needed=False)
    if mask is not None:
        masks["fc.weight"] = mask.T.contiguous() != 0
    for name, kept in masks.items():
        state[name] = torch.where(kept, state[name], 0.0)
    pruned = {name: kept for name, kept in masks.items() if not bool(kept.all())}
    meta: dict[str, Any] = {"arch": "mobilenet_v1" if mobile else "resnet50_rigl", "published_arch": "rigl"}
    if mobile:
        meta["preprocess"] = {"interpolation": "bicubic"}
    unused = tuple(name for name in tensors if name not in used)
    return RawCheckpoint("rigl-tf", state, pruned or None, meta, unused)


def _take(tensors: Mapping[str, Tensor], used: set[str], scope: str, *leaves: str, needed: bool = True) -> Tensor:
    """Return a variable of a scope, which TensorFlow may have nested in itself, under one of several names."""
    pattern = re.compile(rf"{_ROOT}{scope}/(?:{scope}/)?(?:{'|'.join(leaves)})")
    found = [name for name in tensors if pattern.fullmatch(name)]
    if found:
        used.add(found[0])
        value = tensors[found[0]]
        if not value.is_floating_point() and "mask" not in leaves:
            raise CheckpointError(f"{found[0]} holds whole numbers, not weights", "get the file as it was published")
        return value.float()
    if needed:
        raise CheckpointError(
            f"the TensorFlow checkpoint has no {_ROOT}{scope}/{leaves[0]}",
            "known are RigL's published ResNet-50 and MobileNetV1 checkpoints",
        )
    return None  # type: ignore[return-value]


def _to_torch(value: Tensor, depthwise: bool) -> Tensor:
    """Return ``(H, W, in, out)`` as ``(out, in, H, W)``, and depthwise ``(H, W, in, 1)`` as ``(in, 1, H, W)``."""
    return value.permute(2, 3, 0, 1).contiguous() if depthwise else value.permute(3, 2, 0, 1).contiguous()


def _resnet() -> Iterator[tuple[str, str, str]]:
    """Yield scope, layer and batch norm of each convolution, in the order in which they were built."""
    yield "initial_conv", "conv1", "bn1"
    for stage, blocks in enumerate(_BLOCKS, start=1):
        for block in range(blocks):
            group = f"block_group{stage}" if block else f"block_group_projection_block_group{stage}"
            suffix = f"{group}_{block}_1" if block else group
            ours = f"layer{stage}.{block}"
            if block == 0:
                yield f"bottleneck_projection_{suffix}", f"{ours}.downsample.0", f"{ours}.downsample.1"
            for k in (1, 2, 3):
                yield f"bottleneck_{k}_{suffix}", f"{ours}.conv{k}", f"{ours}.bn{k}"


def _mobilenet() -> Iterator[tuple[str, str, str]]:
    yield "initial_conv", "model.0.0", "model.0.1"
    for block in range(_MOBILENET_BLOCKS):
        yield f"depthwise_nxn_{block}", f"model.{block + 1}.0", f"model.{block + 1}.1"
        yield f"contraction_1x1_{block}", f"model.{block + 1}.3", f"model.{block + 1}.4"
