"""The folder that a network is exported to: what is in it, and how it is read back.

``model.safetensors`` holds weights under timm's or torchvision's own names, the new head included; ``config.json`` is a
description that timm and the Hugging Face hub read, with a section of our own; ``README.md`` is the model card;
``model.onnx`` is there if it was asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from ..common.files import read_regular, sha256_file
from ..schema import InputError, Preprocess
from ..schema.base import Lenient

WEIGHTS, CONFIG, CARD, ONNX = "model.safetensors", "config.json", "README.md", "model.onnx"
FORMAT: Final = "sparsebench-model-1"
_SECTION = "sparsebench"
_LARGEST = 2**24  # bytes of a description


class ExportedFile(Lenient):
    """A file of the folder, and its content hash."""

    name: str
    sha256: str


class Description(Lenient):
    """What an exported network says about itself.

    ``preprocess`` is what is in force, the task's normalisation included where the protocol has it; ``decoder`` is what
    the run decoded image files with. ``provenance`` says where it is from: ids, hashes, accuracy, licences.
    """

    format: Literal["sparsebench-model-1"] = FORMAT
    arch: str
    classes: tuple[str, ...]
    feature_dim: int
    preprocess: Preprocess
    decoder: Literal["fast", "pillow"] = "fast"
    mode: str
    probe: str | None = None
    weights: ExportedFile
    onnx: ExportedFile | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class ExportedFolder:
    """An exported network on disk, its files checked."""

    path: Path
    description: Description

    @property
    def weights(self) -> Path:
        """The file of weights."""
        return self.path / self.description.weights.name


def config_json(description: Description) -> dict[str, Any]:
    """Return ``config.json``: what timm reads of a folder, and our own section."""
    preprocess = description.preprocess
    size = preprocess.input_size
    return {
        "architecture": description.arch,
        "num_classes": len(description.classes),
        "num_features": description.feature_dim,
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "interpolation": preprocess.interpolation,
            "crop_pct": preprocess.crop_pct,
            "crop_mode": "center",
            "num_classes": len(description.classes),
            "label_names": list(description.classes),
        },
        _SECTION: description.model_dump(mode="json", exclude_none=True),
    }


def read_folder(path: Path) -> ExportedFolder:
    """Read an exported network's description, and check the hash of its weights.

    Raises
    ------
    InputError
        If there is no such folder, it wasn't written by ``export-model``, or its weights have changed.
    """
    hint = "give the folder that `sparsebench export-model` wrote"
    if not path.is_dir():
        raise InputError(f"there is no folder {str(path)!r}", hint)
    try:
        document = json.loads(read_regular(path / CONFIG, _LARGEST))
        description = Description.model_validate(document[_SECTION])
    except FileNotFoundError:
        raise InputError(f"{str(path)!r} holds no {CONFIG}", hint) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = "its values aren't those of one" if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{str(path / CONFIG)!r} doesn't describe an exported network: {reason}", hint) from error
    folder = ExportedFolder(path, description)
    if Path(description.weights.name).name != description.weights.name:
        raise InputError(f"{str(path / CONFIG)!r} names weights outside of its folder", hint)
    try:
        found = sha256_file(folder.weights)
    except OSError as error:
        raise InputError(f"can't read {str(folder.weights)!r}: {error.strerror}", "export the network again") from error
    if found != description.weights.sha256:
        raise InputError(f"{str(folder.weights)!r} is not the file that was exported", "export the network again")
    return folder
