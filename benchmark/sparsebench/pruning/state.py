"""What the trainer shares with a pruning method while it trains, and what a training leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.masks import MaskHolder, apply

Sampler = Callable[[int, int], Iterator[tuple[Tensor, Tensor]]]
"""``sample(count, size)``: batches (images, labels) of training images as they are, without augmentation."""


@dataclass
class TrainState:
    """What the trainer shares with a method.

    ``weights`` are the prunable weights by parameter name; ``masks`` are the masks in force (empty: everything is
    free); ``step`` counts optimizer steps from 0 up to ``total_steps``; ``sample`` draws training images.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    weights: Mapping[str, Tensor]
    total_steps: int
    sample: Sampler
    step: int = 0
    masks: dict[str, Tensor] = field(default_factory=dict)
    holder: MaskHolder | None = None
    precision: torch.dtype = torch.float32
    label_smoothing: float = 0.0

    def forward(self, images: Tensor) -> Tensor:
        """Return the model's logits in float32, computed in ``precision`` (autocast where that is lower)."""
        with torch.autocast(images.device.type, self.precision, enabled=self.precision != torch.float32):
            logits: Tensor = self.model(images)
        return logits.float()

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of a batch, its targets smoothed by :attr:`label_smoothing`."""
        return F.cross_entropy(self.forward(images), labels, label_smoothing=self.label_smoothing)

    def set_masks(self, masks: dict[str, Tensor]) -> None:
        """Put masks in force: apply them to weights and momentum and hold them from now on ({} frees every weight)."""
        self.masks = masks
        apply(self.model, masks)
        self.holder = MaskHolder(self.model, masks, self.optimizer) if masks else None
        if self.holder is not None:
            self.holder.hold()

    def sparsity(self) -> float:
        """Fraction of the prunable weights that the masks in force prune."""
        total = sum(w.numel() for w in self.weights.values())
        return sum(int((~m).sum()) for m in self.masks.values()) / total

    def magnitudes(self) -> dict[str, Tensor]:
        """Absolute values of the prunable weights."""
        return {name: w.detach().abs() for name, w in self.weights.items()}

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of the model's state dict."""
        return {key: value.detach().clone() for key, value in self.model.state_dict().items()}

    def clear_momentum(self) -> None:
        """Forget the optimizer's momentum."""
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor) and value.ndim > 0:
                    value.zero_()


@dataclass(frozen=True)
class Result:
    """A network that a training leaves, of one of the method's sparsities, or dense (sparsity 0).

    ``exact`` is False for a method that has no target: ``sparsity`` is then what was asked for, not what came out.
    """

    sparsity: float
    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    exact: bool = True
