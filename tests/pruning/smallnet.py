"""A network small enough to re-derive a pruning method's every step by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsebench.models import masks
from sparsebench.pruning.base import PruningMethod
from sparsebench.pruning.state import TrainState

STEPS = 100


@dataclass
class Moment:
    """Masks in force and weights after a step."""

    masks: dict[str, Tensor]
    weights: dict[str, Tensor]


def sample(count: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Random inputs of four classes, told apart by their mean."""
    for _ in range(count):
        labels = torch.randint(4, (size,))
        yield torch.randn(size, 8) + labels[:, None] * torch.linspace(-1, 1, 8), labels


def small_state(method: PruningMethod, steps: int = STEPS, *, batch_norm: bool = True, seed: int = 0) -> TrainState:
    """A network of 8-16-4 units, prepared for a method; 192 weights can be pruned."""
    torch.manual_seed(seed)
    middle = [torch.nn.BatchNorm1d(16)] if batch_norm else []
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), *middle, torch.nn.ReLU(), torch.nn.Linear(16, 4))
    weights = masks.prunable(model)
    method.prepare(model, weights)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=1e-3, nesterov=True)
    return TrainState(model, optimizer, weights, steps, sample)


def train(method: PruningMethod, state: TrainState) -> list[Moment]:
    """Train to the end; return what is in force after each step."""
    history = []
    while state.step < state.total_steps:
        method.before_step(state)
        method.gradients(state, *next(sample(1, 16)))
        method.update(state)
        state.step += 1
        history.append(Moment(dict(state.masks), {k: w.detach().clone() for k, w in state.weights.items()}))
    return history


def pruned(found: dict[str, Tensor]) -> int:
    """How many weights masks prune."""
    return sum(int((~m).sum()) for m in found.values())
