"""A small pruned network, saved in the ways that people save networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import sparsebench
from sparsebench.models import backbones
from sparsebench.models.backbone import Backbone

State = dict[str, Tensor]


def small_state(seed: int = 0) -> State:
    """Return the state dict of a ``mini`` network of 5 classes whose convolutions have four of five weights zero."""
    torch.manual_seed(seed)
    state = dict(backbones.build(backbones.find("mini")[0], 5).state_dict())
    for name, value in state.items():
        if value.ndim == 4:
            state[name] = value * (torch.rand(value.shape) < 0.2)
    return state


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def loaded(path: Path | str, arch: str | None = "mini", **options: Any) -> Backbone:
    return sparsebench.load(path, arch=arch, **options)


def assert_is(backbone: Backbone, state: State) -> None:
    """Check that a network loaded with its head has exactly these weights."""
    found = backbone.module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.items() if name in state)
    assert {name for name in found if not name.endswith("num_batches_tracked")} <= set(state)
