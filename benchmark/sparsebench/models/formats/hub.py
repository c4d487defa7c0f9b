"""Folders as the Hugging Face hub's timm models are downloaded: ``config.json`` beside ``model.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...schema import CheckpointError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights in such a folder, the preferred one first."""

DESCRIPTION = "config.json"
_LARGEST = 1 << 20


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
    """Return what ``config.json`` says of the weights beside it: ``named`` and ``preprocess``; nothing without one.

    Raises
    ------
    CheckpointError
        If it is not JSON.
    """
    file = path.with_name(DESCRIPTION)
    if path.name not in WEIGHTS or not file.is_file():
        return {}
    try:
        text = file.read_bytes()[:_LARGEST]
        config = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file} can't be read as JSON: {error}", "correct it, or move the weights elsewhere"
        ) from error
    if not isinstance(config, Mapping) or not isinstance(config.get("architecture"), str):
        return {}
    preprocess = _preprocess(config.get("pretrained_cfg"))
    return {"named": (config["architecture"],), **({"preprocess": preprocess} if preprocess else {})}


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
