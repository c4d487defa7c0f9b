"""Plain state dicts: ``.pth`` files of torchvision, timm, DeGirum and most repositories, and bare ``.safetensors``.

The state dict may lie anywhere in a training checkpoint, and its keys may carry what wrappers of networks add.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from .base import RawCheckpoint
from .beside import apply_masks
from .budget import Budget
from .contents import architectures_named, choose, matches, warn_of_choice
from .guard import guarded
from .heads import is_safetensors
from .kinds import plain
from .unpickle import load_pickle
from .wrappers import unwrap_names


def read(path: Path, budget: Budget, wanted: str | None) -> RawCheckpoint:
    """Read either kind of file; parameters and errors as of :func:`read_pickle`."""
    with path.open("rb") as file:
        head = file.read(9)
    return (read_safetensors if is_safetensors(path, head) else read_pickle)(path, budget, wanted)


def read_pickle(path: Path, budget: Budget | None = None, wanted: str | None = None) -> RawCheckpoint:
    """Read a ``torch.save`` file without running anything in it.

    Parameters
    ----------
    path : Path
        The file.
    budget : Budget, optional
        What its tensors may take.
    wanted : str, optional
        Which weights to take where there are several: ``ema``, ``raw``, or a name in the file.

    Raises
    ------
    CheckpointError
        If the file is truncated or corrupted, has no state dict or several, or one that can't be used without loss.
    """
    budget = budget or Budget.of(path)
    content = load_pickle(path, budget)
    with guarded(path):
        return _plain(content, path, budget, wanted, _describe(content))


def read_safetensors(path: Path, budget: Budget | None = None, wanted: str | None = None) -> RawCheckpoint:
    """Read a bare ``.safetensors`` state dict; parameters and errors as of :func:`read_pickle`."""
    with guarded(path):
        return _plain(load_file(path), path, budget or Budget.of(path), wanted, {})


def _plain(content: Any, path: Path, budget: Budget, wanted: str | None, meta: dict[str, Any]) -> RawCheckpoint:
    """Return the weights in a loaded object, plain: under the network's own names, dense, unmasked ones masked."""
    weights, sets, contents = choose(content, path, wanted)
    budget.check(weights.size, "its tensors")
    state = {name: plain(name, value, budget) for name, value in unwrap_names(weights.tensors).items()}
    if len(sets) > 1 and wanted is None:
        others = ", ".join(w.place for w in sets if w is not weights)
        warn_of_choice(path, weights.place, others)
    taken = weights.place if len(sets) > 1 else None
    named = taken is not None and wanted is not None and matches(weights.place, wanted, weights.averaged)
    settled = named or wanted in ("ema" if weights.averaged else None, weights.place)
    raw = RawCheckpoint("plain", state, meta=meta, taken=taken, wanted=None if settled else wanted)
    return apply_masks(raw, contents.masks, budget)


def _describe(content: Any) -> dict[str, Any]:
    """Return what a file calls its network: ``published_arch``, as IST does, and ``named``, as others do."""
    config = content.get("model_config") if isinstance(content, Mapping) else None
    name = config.get("arch") if isinstance(config, Mapping) else None
    own = {"published_arch": name} if isinstance(name, str) else {}
    named = architectures_named(content)
    return {**own, "named": named} if named else dict(own)
