"""STR: soft threshold reparameterization (Kusupati et al., 2020): the thresholds of pruning are learned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .base import PruningMethod, Result, TrainState
from .distributions import global_masks, kept_count
from .schedules import cubic_sparsity


class SoftThreshold(nn.Module):
    """A layer's effective weight ``sign(w) relu(|w| - sigmoid(s))``, ``s`` learned (Kusupati et al., 2020, eq. 2)."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.tensor(initial))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the effective weight."""
        return torch.sign(weight) * torch.relu(weight.abs() - torch.sigmoid(self.s))


class STR(PruningMethod):
    """Train with one learned threshold a layer; weights below it are zero, the others shrink by it.

    The published method has no target: the sparsity that comes out depends on the initial threshold and on the weight
    decay, which are searched for by hand. Here the thresholds learn how sparsity is spread over the layers, by
    gradient and weight decay as published, and a schedule sets its total: every :attr:`every` steps one number ``c``
    is added to all ``s``, chosen so that the whole network's sparsity is the cubic schedule's, which rises from 0 to
    the target between the fractions :attr:`start` and :attr:`end` of the training. A weight is pruned where
    ``logit |w| - s <= c``, so ``c`` is an order statistic, and the target is met exactly. The stored weights are the
    effective ones.
    """

    name = "str"
    distributions = ("learned",)
    settings = ("start", "end", "every")
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"start": (0, 1), "end": (0, 1), "every": (1, math.inf)}
    rising = ("start", "end")

    initial_s = -10.0
    start = 0.05
    end = 0.5
    every = 20

    def prepare(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Give each prunable layer its threshold."""
        self._layers: dict[str, tuple[Tensor, SoftThreshold]] = {}
        for name, weight in weights.items():
            layer, threshold = model.get_submodule(name.removesuffix(".weight")), SoftThreshold(self.initial_s)
            parametrize.register_parametrization(layer, "weight", threshold.to(weight.device))
            self._layers[name] = (weight, threshold)

    def scheduled(self, step: int, total_steps: int) -> float:
        """Return the sparsity that the schedule wants at a step."""
        return cubic_sparsity(step / total_steps, 0.0, self.sparsity, self.start, self.end)

    def before_step(self, state: TrainState) -> None:
        """Move the thresholds to the scheduled sparsity."""
        if state.step % int(self.every) == 0 and state.step / state.total_steps >= self.start:
            self.move_thresholds(self.scheduled(state.step, state.total_steps))

    @torch.no_grad()
    def move_thresholds(self, sparsity: float) -> None:
        """Add one number to all ``s`` so that the given fraction of the weights is at or below its threshold."""
        distance = torch.cat([(_logit(w.abs()) - layer.s).flatten() for w, layer in self._layers.values()])
        pruned = distance.numel() - kept_count(distance.numel(), sparsity)
        if pruned == 0:
            return
        shift = torch.kthvalue(distance, pruned).values
        if shift.isfinite():
            for _, layer in self._layers.values():
                layer.s.add_(shift)

    def current_sparsity(self, state: TrainState) -> float:
        """Return the fraction of effective weights that are zero."""
        zeros = sum(int((layer(w) == 0).sum()) for w, layer in self._layers.values())
        return zeros / sum(w.numel() for w, _ in self._layers.values())

    def masks(self, scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
        """Return the masks that keep the largest scores over all layers."""
        return global_masks(scores, sparsity)

    def results(self, state: TrainState) -> Iterator[Result]:
        """Yield the network of the effective weights, exactly at the target."""
        self.move_thresholds(self.sparsity)
        for name in self._layers:
            parametrize.remove_parametrizations(state.model.get_submodule(name.removesuffix(".weight")), "weight")
        parameters = dict(state.model.named_parameters())
        magnitudes = {name: parameters[name].detach().abs() for name in self._layers}
        masks = self.masks(magnitudes, self.sparsity)
        state.set_masks(masks)
        yield Result(self.sparsity, state.snapshot(), masks)


def _logit(magnitude: Tensor) -> Tensor:
    """Return the inverse sigmoid; magnitudes from 1 on, which no threshold reaches, count as just below it."""
    return magnitude.clamp(max=1 - 1e-6).logit()
