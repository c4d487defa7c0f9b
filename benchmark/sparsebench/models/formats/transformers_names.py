"""ResNet and ViT as Hugging Face's transformers name their tensors, renamed to timm's; masks of such tensors, too.

A ViT's three projections ``query``, ``key`` and ``value`` become one ``qkv``, in this order. Its pooler, which no
classifier uses, and the token of masked-image training are left out.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ...schema import CheckpointError
from .base import RawCheckpoint, State

_LEAF = r"(?P<leaf>(?:\.(?:weight|bias|running_mean|running_var|num_batches_tracked)(?:_mask)?)?)"
_VIT = re.compile(r"(?P<prefix>.*?)encoder\.layer\.\d+\.attention\.attention\.query" + _LEAF)
_RESNET = re.compile(r"(?P<prefix>.*?)encoder\.stages\.\d+\.layers\.\d+\.layer\.\d+\.convolution" + _LEAF)
_PROJECTIONS = ("query", "key", "value")
_PROJECTION = re.compile(r"encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)" + _LEAF)

_VIT_NAMES = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.distillation_token", "dist_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense", r"blocks.\1.attn.proj"),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense", r"blocks.\1.mlp.fc1"),
    (r"encoder\.layer\.(\d+)\.output\.dense", r"blocks.\1.mlp.fc2"),
    (r"encoder\.layer\.(\d+)\.layernorm_before", r"blocks.\1.norm1"),
    (r"encoder\.layer\.(\d+)\.layernorm_after", r"blocks.\1.norm2"),
    (r"layernorm", "norm"),
    (r"(?:cls_)?classifier", "head"),
    (r"distillation_classifier", "head_dist"),
)
_RESNET_NAMES = (
    (r"embedder\.embedder\.convolution", "conv1"),
    (r"embedder\.embedder\.normalization", "bn1"),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.convolution", r"layer{0}.\2.conv{2}"),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.normalization", r"layer{0}.\2.bn{2}"),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution", r"layer{0}.\2.downsample.0"),
    (r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization", r"layer{0}.\2.downsample.1"),
    (r"classifier\.1", "fc"),
)
_UNUSED = re.compile(r"pooler\..*|embeddings\.mask_token")


def is_transformers(raw: RawCheckpoint) -> bool:
    """Return whether tensors, or masks, are named as transformers' ViT or ResNet."""
    return any(_VIT.fullmatch(name) or _RESNET.fullmatch(name) for name in raw.state)


def transformers(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Return the tensors under timm's names.

    Raises
    ------
    CheckpointError
        If a projection of an attention lacks one of its three parts, or they differ in shape.
    """
    found = next(m for name in raw.state if (m := _VIT.fullmatch(name) or _RESNET.fullmatch(name)))
    names = _VIT_NAMES if found.re is _VIT else _RESNET_NAMES
    outer = found["prefix"].rpartition(".")[0].rpartition(".")[0]  # of model.vit.encoder, also before the classifier
    state: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    unused: list[str] = []
    for name, value in raw.state.items():
        own = name.removeprefix(found["prefix"]) if found["prefix"] else name
        own = own.removeprefix(f"{outer}.") if outer and own == name else own
        if projection := _PROJECTION.fullmatch(own):
            parts.setdefault((projection[1], projection["leaf"]), {})[projection[2]] = value
        elif _UNUSED.fullmatch(own):
            unused.append(name)
        else:
            state[_renamed(own, names)] = value
    for (block, leaf), projections in parts.items():
        state[f"blocks.{block}.attn.qkv{leaf}"] = _joined(block, leaf, projections)
    return raw.then("transformers", state=state, unused=(*raw.unused, *unused))


def _renamed(name: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, ours in names:
        if found := re.fullmatch(pattern + _LEAF, name):
            numbers = [str(int(group) + 1) for group in found.groups()[:-1]]  # stages and layers count from 0
            return found.expand(ours.format(*numbers) if "{" in ours else ours) + found["leaf"]
    return name


def _joined(block: str, leaf: str, parts: State) -> Tensor:
    missing = [name for name in _PROJECTIONS if name not in parts]
    shapes = {tuple(value.shape) for value in parts.values()}
    if missing or len(shapes) > 1:
        what = f"lacks {', '.join(missing)}" if missing else f"differs in shape: {sorted(shapes)}"
        raise CheckpointError(f"the attention{leaf} of block {block} {what}", "get the file again")
    return torch.cat([parts[name] for name in _PROJECTIONS])
