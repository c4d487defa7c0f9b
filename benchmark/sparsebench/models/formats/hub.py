"""Folders as models of the Hugging Face hub are downloaded: ``config.json`` beside ``model.safetensors``.

timm's config names the architecture and its input. transformers' config has the sizes of a ResNet or a ViT, by which
timm's architecture is found; its input is in ``preprocessor_config.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...schema import CheckpointError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights in such a folder, the preferred one first."""

DESCRIPTION = "config.json"
PROCESSOR = "preprocessor_config.json"
_LARGEST = 1 << 20

_VITS = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
"""Width, depth and heads of the sizes of ViT (Dosovitskiy et al., 2021; Touvron et al., 2021)."""

_NARROW, _WIDE = [64, 128, 256, 512], [256, 512, 1024, 2048]
_RESNETS = {
    "resnet18": ("basic", [2, 2, 2, 2], _NARROW),
    "resnet34": ("basic", [3, 4, 6, 3], _NARROW),
    "resnet50": ("bottleneck", [3, 4, 6, 3], _WIDE),
    "resnet101": ("bottleneck", [3, 4, 23, 3], _WIDE),
    "resnet152": ("bottleneck", [3, 8, 36, 3], _WIDE),
}
_VIT = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "qkv_bias": True,
    "image_size": 224,
    "patch_size": 16,
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "vit": _VIT,
    "deit": _VIT,
    "resnet": {
        "embedding_size": 64,
        "hidden_sizes": _WIDE,
        "depths": [3, 4, 6, 3],
        "layer_type": "bottleneck",
        "hidden_act": "relu",
    },
}
_PILLOW = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the ways to resize."""


def weights_in(folder: Path) -> Path:
    """Return the file of weights in a folder.

    Raises
    ------
    CheckpointError
        If it holds none of :data:`WEIGHTS`.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"the folder {folder} holds no checkpoint: no {' or '.join(WEIGHTS)}", "give the file itself")


def description_beside(path: Path) -> dict[str, Any]:
    """Return what is said of the weights by the files beside them: ``named`` and ``preprocess``; nothing without one.

    Raises
    ------
    CheckpointError
        If one is not JSON.
    """
    if path.name not in WEIGHTS:
        return {}
    config = _json(path.with_name(DESCRIPTION))
    if isinstance(config.get("architecture"), str):
        name, preprocess = config["architecture"], _preprocess(config.get("pretrained_cfg"))
    else:
        name = transformers_architecture(config)
        preprocess = _processor(_json(path.with_name(PROCESSOR))) if name else {}
    return {**({"named": (name,)} if name else {}), **({"preprocess": preprocess} if preprocess else {})}


def transformers_architecture(config: Mapping[str, Any]) -> str:
    """Return timm's name of the ResNet or ViT that a config of transformers describes; empty for another network.

    Parameters
    ----------
    config : mapping
        Its ``config.json``. What isn't in it has transformers' default, as its own files leave these out.
    """
    kind = config.get("model_type")
    given = {**_DEFAULTS.get(kind, {}), **config} if isinstance(kind, str) else {}
    if kind in ("vit", "deit"):
        sizes = (given["hidden_size"], given["num_hidden_layers"], given["num_attention_heads"])
        plain = given["hidden_act"] == "gelu" and given["qkv_bias"] is True
        size = next((name for name, known in _VITS.items() if known == sizes and plain), "")
        wide = given["intermediate_size"] == 4 * given["hidden_size"] if size else False
        family = "deit_{}_distilled" if kind == "deit" else "vit_{}"  # transformers' DeiT always has the second token
        return f"{family.format(size)}_patch{given['patch_size']}_{given['image_size']}" if wide else ""
    if kind == "resnet":
        unlike = ("downsample_in_first_stage", "downsample_in_bottleneck")
        standard = given["embedding_size"] == 64 and given["hidden_act"] == "relu" and not any(map(given.get, unlike))
        shape = (given["layer_type"], given["depths"], given["hidden_sizes"])
        return next((name for name, known in _RESNETS.items() if list(known) == list(shape) and standard), "")
    return ""


def _json(file: Path) -> Mapping[str, Any]:
    """Return what a JSON file says; nothing where there is none, or it holds something else than a mapping."""
    if not file.is_file():
        return {}
    try:
        with file.open("rb") as opened:
            config = json.loads(opened.read(_LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file} can't be read as JSON: {error}", "correct it, or move the weights elsewhere"
        ) from error
    return config if isinstance(config, Mapping) else {}


def _processor(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return transformers' description of a network's input in our words.

    A size of one number is that of the image itself, or of the crop; ``crop_pct`` is the share that a crop keeps.
    """
    size = config.get("size")
    if isinstance(size, Mapping):
        size = next((size[key] for key in ("height", "shortest_edge") if key in size), None)
    crop = config.get("crop_size")
    crop = crop.get("height") if isinstance(crop, Mapping) else crop
    found = {ours: config[key] for key, ours in (("image_mean", "mean"), ("image_std", "std")) if key in config}
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        kept = crop if isinstance(crop, int) and 0 < crop <= size and config.get("do_center_crop") is True else size
        found |= {"input_size": kept, "crop_pct": kept / size}
        found |= {"crop_pct": config["crop_pct"]} if isinstance(config.get("crop_pct"), float) else {}
    if "resample" in config:
        found["interpolation"] = _PILLOW.get(config["resample"], "bicubic")
    return found


def _preprocess(config: Any) -> dict[str, Any]:
    """Return timm's description of a network's input in our words."""
    if not isinstance(config, Mapping):
        return {}
    found = {key: config[key] for key in ("mean", "std", "crop_pct", "interpolation") if key in config}
    size = config.get("input_size")
    if isinstance(size, list) and size:
        found["input_size"] = size[-1]
    if "interpolation" in found and found["interpolation"] not in ("bilinear", "bicubic", "nearest"):
        found["interpolation"] = "bicubic"
    return found
