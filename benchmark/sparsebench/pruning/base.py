"""The interface of a pruning method: what it may do, and when, while the trainer trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..masks import MaskHolder, apply
from .distributions import check_sparsity, masks_for


@dataclass
class TrainState:
    """What the trainer shares with a method.

    ``weights`` are the prunable weights by parameter name; ``masks`` are the masks in force (empty: everything is
    free); ``step`` counts optimizer steps from 0 up to ``total_steps``.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    weights: Mapping[str, Tensor]
    total_steps: int
    step: int = 0
    masks: dict[str, Tensor] = field(default_factory=dict)
    holder: MaskHolder | None = None
    precision: torch.dtype = torch.float32

    def forward(self, images: Tensor) -> Tensor:
        """Return the model's logits in float32, computed in ``precision`` (autocast where that is lower)."""
        with torch.autocast(images.device.type, self.precision, enabled=self.precision != torch.float32):
            logits: Tensor = self.model(images)
        return logits.float()

    @property
    def progress(self) -> float:
        """Fraction of the training done."""
        return self.step / self.total_steps

    def set_masks(self, masks: dict[str, Tensor]) -> None:
        """Put masks in force: apply them to the weights and hold them from now on ({} frees every weight)."""
        self.masks = masks
        apply(self.model, masks)
        self.holder = MaskHolder(self.model, masks, self.optimizer) if masks else None

    def sparsity(self) -> float:
        """Fraction of the prunable weights that the masks in force prune."""
        total = sum(w.numel() for w in self.weights.values())
        return sum(int((~m).sum()) for m in self.masks.values()) / total

    def magnitudes(self) -> dict[str, Tensor]:
        """Absolute values of the prunable weights."""
        return {name: w.detach().abs() for name, w in self.weights.items()}

    def clear_momentum(self) -> None:
        """Forget the optimizer's momentum."""
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor) and value.ndim > 0:
                    value.zero_()


class PruningMethod:
    """Base class: a method overrides the moments it cares about.

    Parameters
    ----------
    sparsity : float
        Target over the prunable weights, in [0, 1).
    distribution : str
        How it is spread over layers.

    Attributes
    ----------
    name : str
        The method's id.
    from_dense : bool
        Whether the method starts from trained dense weights.
    peak_lr, epochs : float, int
        Defaults of the recipe: the highest learning rate and the length in epochs.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    from_dense: ClassVar[bool] = False
    peak_lr: ClassVar[float] = 0.2
    epochs: ClassVar[int] = 20

    def __init__(self, sparsity: float, distribution: str = "global") -> None:
        check_sparsity(sparsity)
        self.sparsity = sparsity
        self.distribution = distribution

    def before_step(self, state: TrainState) -> None:
        """Act before the forward pass of ``state.step``: schedules change masks here."""

    def gradients(self, state: TrainState, images: Tensor, labels: Tensor) -> Tensor:
        """Fill the parameters' gradients and return the loss (a scalar); cross-entropy unless overridden."""
        loss = F.cross_entropy(state.forward(images), labels)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    def update(self, state: TrainState) -> None:
        """Take the optimizer's step and hold the masks in force."""
        state.optimizer.step()
        if state.holder is not None:
            state.holder.hold()

    def before_saving(self, state: TrainState) -> None:
        """Act after the last step, before the checkpoint is written."""

    def prune_by_magnitude(self, state: TrainState, sparsity: float) -> None:
        """Put the masks of the largest magnitudes in force, under this method's distribution."""
        state.set_masks(masks_for(state.magnitudes(), sparsity, self.distribution))

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs beyond the trainer's own state (tensors and plain values only)."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
