"""Plain state dicts: ``.pth`` files of torchvision, timm, DeGirum and most repositories, and bare ``.safetensors``.

The state dict may be wrapped in a training checkpoint, and its keys may carry the prefixes of ``DataParallel`` and
``torch.compile``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..schema import CheckpointError
from .base import RawCheckpoint
from .unpickle import first_line, load_pickle

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
    content = load_pickle(path)
    return RawCheckpoint("plain", find_state_dict(content, path), meta=_describe(content))


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
            f"{path} is not a whole safetensors file: {first_line(error)}", "get the file again"
        ) from error
    return RawCheckpoint("plain", find_state_dict(state, path))


def _describe(content: Any) -> dict[str, Any]:
    """Return what IST's files say about themselves: ``published_arch``, their own name for the architecture."""
    config = content.get("model_config") if isinstance(content, Mapping) else None
    name = config.get("arch") if isinstance(config, Mapping) else None
    return {"published_arch": name} if isinstance(name, str) else {}


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
