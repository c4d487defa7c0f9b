"""A file's weights into the architecture that they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from . import backbones
from .backbones import Architecture
from .formats import RawCheckpoint
from .schema import CheckpointError


@dataclass(frozen=True)
class Network:
    """An architecture with a file's weights; ``classes`` is None, and there is no head, where the file has none."""

    model: nn.Module
    architecture: Architecture
    head_name: str
    classes: int | None


def fit(arch: str, raw: RawCheckpoint, path: Path) -> Network:
    """Build the architecture that a file's keys fit, and load them strictly; a missing head alone is allowed.

    Raises
    ------
    CheckpointError
        If they fit no architecture of that name.
    """
    problems = []
    for architecture in backbones.find(arch):
        with torch.random.fork_rng(devices=[]), torch.device("meta"), backbones.Undrawn():
            template = backbones.build(architecture, 2)
        head_name = backbones.head_name(template, architecture)
        weight = raw.state.get(f"{head_name}.weight")
        classes = int(weight.shape[0]) if weight is not None and weight.ndim else None
        with torch.random.fork_rng(devices=[]), backbones.Undrawn():
            model = backbones.build(architecture, classes or 2)
        problem = mismatch(model, raw.state, optional=head_name)
        if problem is None:
            model.load_state_dict(raw.state, strict=False)
            if classes is None:
                backbones.remove_head(model, architecture)  # what was built is not the checkpoint's
            return Network(model, architecture, head_name, classes)
        problems.append((problem.count, f"{architecture}: {problem.text}"))
    _, text = min(problems)
    raise CheckpointError(f"{path} doesn't fit architecture {text}", "give the architecture the file was saved from")


@dataclass(frozen=True)
class Mismatch:
    """How many keys of a state dict don't fit a model, and which, in words."""

    count: int
    text: str


def mismatch(model: nn.Module, state: Mapping[str, Tensor], *, optional: str | None = None) -> Mismatch | None:
    """Return how the keys and shapes of a state dict differ from a model's; None if they fit.

    Step counters may be missing (old files have none), and so may the layer ``optional`` as a whole.
    """
    wanted = model.state_dict()
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    if optional is not None and f"{optional}.weight" not in state:
        missing = [k for k in missing if not k.startswith(f"{optional}.")]
    extra = [k for k in state if k not in wanted]
    wrong = [k for k, v in state.items() if k in wanted and v.shape != wanted[k].shape]
    parts = []
    for what, keys in (("missing", missing), ("unexpected", extra)):
        if keys:
            parts.append(f"{len(keys)} keys {what} ({_some(keys)})")
    if wrong:
        k = wrong[0]
        parts.append(f"{len(wrong)} of another shape ({k}: {tuple(state[k].shape)}, not {tuple(wanted[k].shape)})")
    return Mismatch(len(missing) + len(extra) + len(wrong), ", ".join(parts)) if parts else None


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
