"""Plain state dicts: ``.pth`` files of torchvision, timm and most repositories, and bare ``.safetensors``.

A ``.pth`` is read with ``weights_only=True``: a pickle that would build anything but tensors and plain containers is
refused before it runs. The state dict may be wrapped in a training checkpoint, and its keys may carry the prefixes of
``DataParallel`` and ``torch.compile``.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..schema import CheckpointError
from .base import RawCheckpoint

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema")
"""Keys under which training checkpoints keep their state dict, in the order they are tried."""

PREFIXES = ("module.", "_orig_mod.")


def read_pickle(path: Path) -> RawCheckpoint:
    """Read a ``torch.save`` file without running anything in it.

    Raises
    ------
    CheckpointError
        If the file is truncated or corrupted, holds objects other than tensors and containers, or has no state dict.
    """
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = re.search(r"(?:GLOBAL|global|function|class)[\s:]+`?([\w.]+\.[\w.]+)", str(error))
        if what or "nsupported" in str(error):
            name = what.group(1) if what else "an object"
            raise CheckpointError(
                f"{path} was refused: it would run or build {name}",
                "only files of tensors are read; save the model's state_dict() alone, or as .safetensors",
            ) from error
        raise CheckpointError(f"{path} is not a checkpoint: {_first_line(error)}", "get the file again") from error
    except Exception as error:  # damaged bytes make torch and pickle fail in any way there is
        raise CheckpointError(
            f"{path} can't be read: {_first_line(error)}", "it is truncated or corrupted: get it again"
        ) from error
    return RawCheckpoint("plain", find_state_dict(content, path))


def _check_archive(path: Path) -> None:
    """Check the checksums inside a ``torch.save`` archive, which torch itself doesn't look at."""
    if not zipfile.is_zipfile(path):
        return  # the older format, or not a whole archive: reading it will tell
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged: {_first_line(error)}", "get the file again") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: checksum of {damaged} is wrong", "get the file again")


def read_safetensors(path: Path) -> RawCheckpoint:
    """Read a bare ``.safetensors`` state dict.

    Raises
    ------
    CheckpointError
        If the file is not whole.
    """
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {_first_line(error)}", "get the file again"
        ) from error
    return RawCheckpoint("plain", find_state_dict(state, path))


def find_state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict in a loaded object, unwrapped, its prefixes removed, its floats in float32.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return _clean(content)
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if isinstance(content, Mapping):
        what = "a mapping with keys " + ", ".join(map(repr, list(content)[:5])) if content else "an empty mapping"
    else:
        what = f"a {type(content).__name__}"
    raise CheckpointError(
        f"{path} holds no state dict but {what}",
        f"save model.state_dict(), bare or under one of the keys {', '.join(WRAPPERS[:3])}",
    )


def _clean(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    result = {}
    for key, value in state.items():
        name = str(key)
        while name.startswith(PREFIXES):
            name = name.removeprefix("module.").removeprefix("_orig_mod.")
        result[name] = value.float() if value.is_floating_point() else value
    return result


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
