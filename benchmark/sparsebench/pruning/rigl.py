"""RigL (Evci et al., 2020, algorithm 1): sparse from the start, connections drop by magnitude and grow by gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from .base import PruningMethod, TrainState
from .distributions import top


class RigL(PruningMethod):
    """Train a sparse network from scratch, moving its connections now and then.

    The first masks are random. At :attr:`updates` evenly spaced steps up to the fraction :attr:`end` of the training,
    every layer drops the fraction ``alpha / 2 * (1 + cos(pi t / t_end))`` of its connections, those of least
    magnitude, and grows as many where the dense gradient is largest, among all that are then free. A connection that
    is new starts at zero, its momentum too. One that was dropped and grows again in the same update goes on with its
    value and its momentum, as in the authors' code. The step that moves connections updates no weight.

    Published on ImageNet: an update every 100 of 32,000 steps up to step 25,000, alpha 0.3.
    """

    name = "rigl"
    distributions = ("erk", "uniform")
    settings = ("alpha", "updates", "end")
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"alpha": (0, 1), "updates": (1, math.inf), "end": (0.001, 1)}

    alpha = 0.3
    updates = 120
    end = 0.75

    def update_steps(self, total_steps: int) -> list[int]:
        """Return the steps at which connections move."""
        return sorted({round(self.end * total_steps * k / self.updates) for k in range(1, int(self.updates) + 1)})

    def fraction(self, step: int, total_steps: int) -> float:
        """Return which fraction of a layer's connections moves at a step (Evci et al., 2020, "update schedule")."""
        return self.alpha / 2 * (1 + math.cos(math.pi * step / (self.end * total_steps)))

    def before_step(self, state: TrainState) -> None:
        """Draw the first masks."""
        if state.step == 0:
            scores = {name: torch.rand(w.shape).to(w.device) for name, w in state.weights.items()}
            state.set_masks(self.masks(scores, self.sparsity))

    def update(self, state: TrainState) -> None:
        """Move connections where the schedule says so, else update the weights."""
        if state.step in self.update_steps(state.total_steps):
            self.move(state, self.fraction(state.step, state.total_steps))
        else:
            super().update(state)

    @torch.no_grad()
    def move(self, state: TrainState, fraction: float) -> None:
        """Drop and grow ``fraction`` of each layer's connections, from the gradients that the weights hold."""
        masks = {}
        for name, weight in state.weights.items():
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            old = state.masks[name].to(weight.device)
            masks[name] = _moved(weight, gradient, old, fraction)
            new = masks[name] & ~old
            weight[new] = 0.0
            momentum = state.optimizer.state.get(weight, {}).get("momentum_buffer")
            if momentum is not None:
                momentum[new] = 0.0
        state.set_masks(masks)


def _moved(weight: Tensor, gradient: Tensor, mask: Tensor, fraction: float) -> Tensor:
    """Return a layer's mask after ``fraction`` of its connections were dropped and as many grown."""
    active = int(mask.sum())
    count = int(fraction * active)
    magnitude = torch.where(mask, weight.abs(), -torch.ones_like(weight))
    kept = top(magnitude.flatten(), active - count).view(mask.shape)
    steepness = torch.where(kept, -torch.ones_like(weight), gradient.abs())
    return kept | top(steepness.flatten(), count).view(mask.shape)
