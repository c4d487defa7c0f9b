"""Second-order pruning: optimal brain surgeon with an estimate of the inverse Fisher, gradually, with finetuning."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from ..schema import InputError, RunError
from .methods.gmp import GMP, GMPSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .fisher import InverseFisher
    from .state import TrainState


class OBSSettings(GMPSettings):
    """What second-order methods share."""

    prunings: int = Field(12, ge=1, description="steps in between, evenly spaced")
    gradient_count: int = Field(128, ge=1, description="gradients of an estimate")
    gradient_batch: int = Field(16, ge=1, description="images per gradient")
    damp: float = Field(1e-5, ge=1e-20, description="added to the Fisher's diagonal")
    recomputations: int = Field(1, ge=1, description="estimates per pruning")
    memory_limit: float = Field(4.0, ge=0, description="most that an estimate may take, in GiB")
    block: int = Field(64, ge=0, description="weights per diagonal block; 0: the whole network as one")


class OBS(GMP):
    """Prune to GMP's schedule, but those weights that the loss needs least by its second-order estimate.

    With the inverse Fisher ``F^-1``, pruning weight q costs ``w_q^2 / (2 [F^-1]_qq)`` (Singh & Alistarh, 2020,
    equation 13, after Hassibi & Stork, 1992), and the others move by ``-w_q F^-1 e_q / [F^-1]_qq`` to make up for it;
    the moves of all weights pruned at once are summed. Weights compete by cost under the distribution. The gradients
    are those of small batches, with batch norm as in evaluation, and zero at weights already pruned.
    """

    settings: OBSSettings

    @abstractmethod
    def empty_inverse(self, sizes: list[int], like: Tensor) -> InverseFisher:
        """Return the estimate before any gradient, for layers of given sizes, of the dtype and device of a tensor."""

    @abstractmethod
    def memory(self, sizes: list[int]) -> int:
        """Return the bytes that the estimate takes."""

    def prepare(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Refuse an estimate that is too large, before the training.

        Raises
        ------
        InputError
            If it takes more than ``memory_limit`` GiB.
        """
        need, limit = self.memory([w.numel() for w in weights.values()]) / 2**30, self.settings.memory_limit
        if need > limit:
            raise InputError(
                f"{self.name}'s inverse Fisher takes {need:.1f} GiB, and memory_limit is {limit:g}",
                "lower block or gradient_count, or raise memory_limit (--set KEY=VALUE)",
            )

    def before_step(self, state: TrainState) -> None:
        """Prune further when the schedule says so, in ``recomputations`` equal parts with a new estimate each."""
        target = self.pruning_steps(state.total_steps).get(state.step)
        if target is None:
            return
        now = state.sparsity()
        for part in range(1, self.settings.recomputations + 1):
            self.prune(state, now + (target - now) * part / self.settings.recomputations)

    def prune(self, state: TrainState, sparsity: float) -> None:
        """Prune the weights of least cost to a sparsity, and move the others to make up for them.

        Raises
        ------
        RunError
            If the estimate isn't finite and positive.
        """
        import torch

        weights = list(state.weights.values())
        sizes = [w.numel() for w in weights]
        kept = self._kept(state)
        inverse = self.estimate(state, kept)
        diagonal = inverse.diagonal()
        if not bool((diagonal > 0).all()) or not bool(diagonal.isfinite().all()):
            raise RunError(
                f"{self.name}'s inverse Fisher is not positive at step {state.step}",
                f"try a larger damp than {self.settings.damp:g} (--set damp=...) or a lower --lr",
            )
        flat = torch.cat([w.detach().flatten() for w in weights])
        cost = torch.where(kept, flat.square() / (2 * diagonal), -1.0).split(sizes)
        masks = self.masks(
            {n: c.view(w.shape) for (n, w), c in zip(state.weights.items(), cost, strict=True)}, sparsity
        )
        pruned = kept & ~torch.cat([mask.flatten() for mask in masks.values()])
        move = inverse.product(torch.where(pruned, flat / diagonal, 0.0)).split(sizes)
        with torch.no_grad():
            for weight, part in zip(weights, move, strict=True):
                weight.sub_(part.view(weight.shape))
        state.set_masks(masks)

    def estimate(self, state: TrainState, kept: Tensor) -> InverseFisher:
        """Return the inverse Fisher of the weights that a flat mask keeps, from freshly sampled gradients."""
        import torch

        weights = list(state.weights.values())
        inverse = self.empty_inverse([w.numel() for w in weights], weights[0])
        training = state.model.training
        state.model.eval()
        for images, labels in state.sample(self.settings.gradient_count, self.settings.gradient_batch):
            gradients = torch.autograd.grad(state.loss(images, labels), weights)
            inverse.add(torch.cat([g.flatten() for g in gradients]) * kept)
        state.model.train(training)
        return inverse

    def _kept(self, state: TrainState) -> Tensor:
        """Return the masks in force as one flat mask."""
        import torch

        return torch.cat(
            [
                state.masks[name].to(w.device).flatten() if name in state.masks else torch.ones_like(w).flatten().bool()
                for name, w in state.weights.items()
            ]
        )
