"""ResNet and MobileNetV1 as SparseML names their tensors, which is how SparseZoo's files have them; renamed to ours.

Both have ``input``, ``sections`` of blocks and ``classifier``. A ResNet's blocks have ``conv1`` and ``identity``, a
MobileNetV1's ``depth`` and ``point``.
"""

from __future__ import annotations

import re

from .base import RawCheckpoint

_BLOCK = re.compile(r"sections\.(\d{1,3})\.(\d{1,3})\.(.+)")
_RESNET = (("identity.conv.", "downsample.0."), ("identity.bn.", "downsample.1."))
_MOBILENET = (("depth.conv.", "0."), ("depth.bn.", "1."), ("point.conv.", "3."), ("point.bn.", "4."))
_HEAD = re.compile(r"classifier\.fc\.(?:1\.)?")


def is_sparseml(raw: RawCheckpoint) -> bool:
    """Return whether the tensors are named as SparseML's ResNet or MobileNetV1."""
    blocks = any(name in raw.state for name in ("sections.0.0.conv1.weight", "sections.0.0.depth.conv.weight"))
    return blocks and "input.conv.weight" in raw.state


def sparseml(raw: RawCheckpoint, wanted: object = None) -> RawCheckpoint:
    """Return SparseML's network under our names."""
    mobilenet = "sections.0.0.depth.conv.weight" in raw.state
    blocks = sorted({(int(m[1]), int(m[2])) for name in raw.state if (m := _BLOCK.fullmatch(name))})
    number = {place: index + 1 for index, place in enumerate(blocks)}

    def rename(name: str) -> str:
        found = _BLOCK.fullmatch(name)
        if not found:
            stem = ("model.0.0.", "model.0.1.") if mobilenet else ("conv1.", "bn1.")
            name = name.replace("input.conv.", stem[0], 1).replace("input.bn.", stem[1], 1)
            return _HEAD.sub("fc.", name, count=1)
        section, block, rest = int(found[1]), int(found[2]), found[3]
        for theirs, ours in _MOBILENET if mobilenet else _RESNET:
            if rest.startswith(theirs):
                rest = ours + rest.removeprefix(theirs)
        return f"model.{number[section, block]}.{rest}" if mobilenet else f"layer{section + 1}.{block}.{rest}"

    return raw.renamed("sparseml", rename, **({"arch": "mobilenet_v1"} if mobilenet else {}))
