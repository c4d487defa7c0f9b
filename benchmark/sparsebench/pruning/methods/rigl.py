"""RigL (Evci et al., 2020, algorithm 1): sparse from the start, connections drop by magnitude and grow by gradient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..base import PruningMethod
from ..settings import MethodSettings
from ..training import Published, Training

if TYPE_CHECKING:
    from torch import Tensor

    from ..state import TrainState


class RigLSettings(MethodSettings):
    """RigL's update schedule."""

    alpha: float = Field(0.3, ge=0, le=1, description="fraction of the connections that the first update moves")
    updates: int = Field(120, ge=1, description="how often connections move, evenly spaced")
    end: float = Field(0.75, ge=0.001, le=1, description="fraction of the training after which none move")
    anneal: Literal["cosine", "constant"] = Field("cosine", description="how the fraction goes on from alpha")


class RigL(PruningMethod):
    """Train a sparse network from scratch, moving its connections now and then.

    The first masks are random. At ``updates`` evenly spaced steps up to the fraction ``end`` of the training,
    every layer drops the fraction ``alpha / 2 * (1 + cos(pi t / t_end))`` of its connections, those of least
    magnitude, and grows as many where the dense gradient is largest, among all that are then free. A connection that
    is new starts at zero, its momentum too. One that was dropped and grows again in the same update goes on with its
    value and its momentum, as in the authors' code. The step that moves connections updates no weight.
    """

    name = "rigl"
    title = "RigL"
    summary = "sparse training that drops by magnitude, grows by gradient (Evci et al., 2020)"
    colour, marker, place = "#117733", "^", 4
    distributions = ("erk", "uniform")
    published = Published(
        Training(
            lr=0.1,
            epochs=100,
            batch_size=256,
            weight_decay=1e-4,
            decay_on="weights",
            label_smoothing=0.1,
            drops=((0.3, 0.1), (0.7, 0.01), (0.9, 0.001)),
            dense={"": (), "uniform": ("stem",)},
        ),
        {"updates": 250, "end": 0.78125},
        source="Evci et al., 2020, and its code: an update every 100 of 32,000 steps up to step 25,000",
    )
    settings_model = RigLSettings
    settings: RigLSettings

    def update_steps(self, total_steps: int) -> list[int]:
        """Return the steps at which connections move."""
        last, count = self.settings.end * total_steps, self.settings.updates
        return sorted({round(last * k / count) for k in range(1, count + 1)})

    def fraction(self, step: int, total_steps: int) -> float:
        """Return which fraction of a layer's connections moves at a step (Evci et al., 2020, "update schedule")."""
        if self.settings.anneal == "constant":
            return self.settings.alpha
        return self.settings.alpha / 2 * (1 + math.cos(math.pi * step / (self.settings.end * total_steps)))

    def before_step(self, state: TrainState) -> None:
        """Draw the first masks."""
        if state.step == 0:
            import torch

            scores = {name: torch.rand(w.shape).to(w.device) for name, w in state.weights.items()}
            state.set_masks(self.masks(scores, self.sparsity))

    def update(self, state: TrainState) -> None:
        """Move connections where the schedule says so, else update the weights."""
        if state.step in self.update_steps(state.total_steps):
            self.move(state, self.fraction(state.step, state.total_steps))
        else:
            super().update(state)

    def move(self, state: TrainState, fraction: float) -> None:
        """Drop and grow ``fraction`` of each layer's connections, from the gradients that the weights hold."""
        import torch

        masks = {}
        with torch.no_grad():
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
    import torch

    from ..distributions import top

    active = int(mask.sum())
    count = int(fraction * active)
    magnitude = torch.where(mask, weight.abs(), -torch.ones_like(weight))
    kept = top(magnitude.flatten(), active - count).view(mask.shape)
    steepness = torch.where(kept, -torch.ones_like(weight), gradient.abs())
    return kept | top(steepness.flatten(), count).view(mask.shape)
