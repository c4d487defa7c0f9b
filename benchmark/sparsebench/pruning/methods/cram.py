"""CrAM+: a compression-aware minimizer (Peste et al., 2023): dense weights that survive one-shot pruning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from ..base import PruningMethod
from ..settings import MethodSettings
from ..training import PRUNED_THROUGHOUT, Published, Training
from .magnitude import one_shot_results

if TYPE_CHECKING:
    from torch import Tensor

    from ..state import Result, TrainState


class CrAMSettings(MethodSettings):
    """CrAM's settings."""

    rho: float = Field(0.05, ge=0, description="length of the step along the gradient before compression")


DRAWN = (0.5, 0.7, 0.9)
"""Sparsities of the compression, of which each step draws one."""


class CrAM(PruningMethod):
    """Train dense weights whose compressed neighbours have a small loss too.

    Each step follows the gradient ``g + M * g'`` (CrAM+, Peste et al., 2023, equation 5, with sparse gradients):
    ``g`` is the batch's gradient at the weights, ``g'`` that at ``C(weights + rho g)``, where ``C`` keeps the largest
    magnitudes and ``M`` is its mask. The sparsity of ``C`` is drawn anew at each step from :data:`DRAWN`, or the N:M
    pattern is the one given. The second pass leaves batch norm's running statistics alone. ``rho g`` is not
    normalised. One training serves every sparsity, by one-shot pruning and new batch-norm statistics; the dense
    weights themselves are the ``_dense`` file.
    """

    name = "cram"
    title = "CrAM"
    summary = "compression-aware minimiser, prunable in one shot (Peste et al., 2022)"
    spellings = ("CrAM+",)
    colour, marker, place = "#aa4499", ">", 9
    serves = "several"
    dense_network = "what it trains, before any pruning"
    published = Published(
        Training(lr=0.2, epochs=100, batch_size=512, nesterov=False, weight_decay=1e-4, dense=PRUNED_THROUGHOUT),
        source="Peste et al., 2023",
    )
    settings_model = CrAMSettings
    settings: CrAMSettings

    def gradients(self, state: TrainState, images: Tensor, labels: Tensor) -> Tensor:
        """Fill the gradients with CrAM+'s; return the loss at the weights themselves."""
        return self.perturbed_gradients(state, images, labels, self._draw())

    def perturbed_gradients(self, state: TrainState, images: Tensor, labels: Tensor, sparsity: float) -> Tensor:
        """Fill the gradients with CrAM+'s for a given sparsity of the compression; return the loss at the weights."""
        import torch

        from ...models.masks import apply
        from ..batch_norm import frozen_statistics

        loss = super().gradients(state, images, labels)
        parameters: list[Tensor] = [p for p in state.model.parameters() if p.grad is not None]
        plain = [p.grad for p in parameters if p.grad is not None]
        before = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            torch._foreach_add_(parameters, plain, alpha=self.settings.rho)
            masks = self.masks(state.magnitudes(), sparsity)
            apply(state.model, masks)
        with frozen_statistics(state.model):
            super().gradients(state, images, labels)
        with torch.no_grad():
            _mask_gradients(state.weights, masks)
            torch._foreach_copy_(parameters, before)
            torch._foreach_add_([p.grad for p in parameters if p.grad is not None], plain)
        return loss

    def _draw(self) -> float:
        if self.distribution == "nm":
            return self.sparsity
        import torch

        return DRAWN[int(torch.randint(len(DRAWN), ()))]

    def results(self, state: TrainState) -> Iterator[Result]:
        """Yield the dense network, then each sparsity's, pruned from it."""
        from ..state import Result

        yield Result(0.0, state.snapshot(), {})
        yield from one_shot_results(self, state)


def _mask_gradients(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    for name, mask in masks.items():
        gradient = weights[name].grad
        if gradient is not None:
            gradient.mul_(mask)
