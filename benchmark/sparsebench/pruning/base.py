"""The interface of a pruning method: what it may do, and when, while the trainer trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..masks import MaskHolder, apply
from ..schema import InputError, UnknownNameError
from .distributions import check_pattern, check_sparsity, masks_for
from .schedules import warmup_cosine

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

    def forward(self, images: Tensor) -> Tensor:
        """Return the model's logits in float32, computed in ``precision`` (autocast where that is lower)."""
        with torch.autocast(images.device.type, self.precision, enabled=self.precision != torch.float32):
            logits: Tensor = self.model(images)
        return logits.float()

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        return F.cross_entropy(self.forward(images), labels)

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
    """A network that a training leaves, of one of the method's sparsities, or dense (sparsity 0)."""

    sparsity: float
    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]


class PruningMethod:
    """Base class: a method overrides the moments it cares about.

    Parameters
    ----------
    sparsity : float
        Target over the prunable weights, in [0, 1).
    distribution : str, optional
        How it is spread over layers; the method's own default if left out.
    nm : tuple of int, optional
        The pattern of the distribution ``nm``.
    also : sequence of float, optional
        Lower sparsities that get a checkpoint too, for methods of which one training serves several.
    **settings
        Values for the method's own hyperparameters, those named in :attr:`settings`.

    Attributes
    ----------
    name : str
        The method's id.
    from_dense : bool
        Whether the method starts from trained dense weights.
    one_shot : bool
        Whether it doesn't train at all.
    several : bool
        Whether one training can serve several sparsities.
    leaves_dense : bool
        Whether it leaves a dense network too.
    peak_lr, epochs : float, int
        Defaults of the recipe: the highest learning rate and the length in epochs.
    distributions : tuple of str
        The distributions it can make, its default first.
    settings : tuple of str
        Names of its own hyperparameters: class attributes, whose values are the defaults.
    bounds : mapping of str to (float, float)
        The least and the largest value of a setting; from 0 on where it has none.
    rising : tuple of str
        Settings, points of the training, of which none may be before the one named ahead of it.

    Raises
    ------
    InputError
        If a sparsity is impossible or the method can't make the distribution.
    UnknownNameError
        If it has no such setting.
    """

    name: ClassVar[str]
    from_dense: ClassVar[bool] = False
    one_shot: ClassVar[bool] = False
    several: ClassVar[bool] = False
    leaves_dense: ClassVar[bool] = False
    peak_lr: ClassVar[float] = 0.2
    epochs: ClassVar[int] = 20
    distributions: ClassVar[tuple[str, ...]] = ("global", "uniform", "erk", "nm")
    settings: ClassVar[tuple[str, ...]] = ()
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}
    rising: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        sparsity: float,
        distribution: str | None = None,
        nm: tuple[int, int] | None = None,
        also: tuple[float, ...] = (),
        **settings: float,
    ) -> None:
        self.sparsity = sparsity
        self.distribution = distribution or self.distributions[0]
        self.nm = nm
        self.sparsities = tuple(sorted({*also, sparsity}))
        for value in self.sparsities:
            check_sparsity(value)
        if self.distribution not in self.distributions:
            raise InputError(
                f"method {self.name} can't make distribution {self.distribution!r}",
                f"it can make: {', '.join(self.distributions)}",
            )
        check_pattern(self.distribution, nm, self.sparsities)
        if len(self.sparsities) > 1 and not self.several:
            raise InputError(f"method {self.name} makes one sparsity a training", "give one --sparsity")
        for key, given in settings.items():
            self._set(key, given)
        points = [getattr(self, key) for key in self.rising]
        if points != sorted(points):
            raise InputError(
                f"{', '.join(f'{key}={point:g}' for key, point in zip(self.rising, points, strict=True))}"
                f" are no schedule of {self.name}",
                "they are points of the training from 0 to 1, one after the other",
            )

    def _set(self, key: str, given: float) -> None:
        """Take the value of a setting."""
        if key not in self.settings:
            raise UnknownNameError(f"setting of {self.name}", key, self.settings)
        kind, (least, most) = type(getattr(self, key)), self.bounds.get(key, (0.0, math.inf))
        if not math.isfinite(given) or not least <= given <= most or given != kind(given):
            what = "a whole number" if kind is int else "a number"
            upto = " on" if most == math.inf else f" to {most:g}"
            raise InputError(
                f"{key}={given:g} is not a setting of {self.name}",
                f"it is {what} from {least:g}{upto}; the default is {getattr(self, key)}",
            )
        setattr(self, key, kind(given))

    def check_layers(self, weights: Mapping[str, Tensor]) -> None:
        """Raise :class:`InputError` if the layers can't have a sparsity asked for under the distribution."""
        for sparsity in self.sparsities:
            if sparsity > 0:
                self.masks({name: w.detach().abs() for name, w in weights.items()}, sparsity)

    def chosen_settings(self) -> dict[str, float]:
        """Return the values of the method's own hyperparameters."""
        return {key: getattr(self, key) for key in self.settings}

    def default_epochs(self) -> int:
        """Return the length of the training in epochs unless the user says otherwise."""
        return self.epochs

    def learning_rate(self, step: int, total: int, peak: float, warmup: float) -> float:
        """Return the learning rate of a step; ``warmup`` is a fraction of the training."""
        return warmup_cosine(step, total, peak, warmup)

    def prepare(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Change the model before the optimizer is made (to add parameters, for example)."""

    def before_step(self, state: TrainState) -> None:
        """Act before the forward pass of ``state.step``: schedules change masks here."""

    def gradients(self, state: TrainState, images: Tensor, labels: Tensor) -> Tensor:
        """Fill the parameters' gradients and return the loss (a scalar); cross-entropy unless overridden."""
        loss = state.loss(images, labels)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    def update(self, state: TrainState) -> None:
        """Take the optimizer's step and hold the masks in force."""
        state.optimizer.step()
        if state.holder is not None:
            state.holder.hold()

    def current_sparsity(self, state: TrainState) -> float:
        """Return the fraction of the prunable weights that are pruned now, for the log."""
        return state.sparsity()

    def results(self, state: TrainState) -> Iterator[Result]:
        """Yield the networks that the training leaves, after the last step; the sparse ones carry their masks."""
        yield Result(self.sparsity, state.snapshot(), state.masks)

    def masks(self, scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
        """Return the masks that keep the largest scores, under this method's distribution."""
        return masks_for(scores, sparsity, self.distribution, self.nm)

    def prune_by_magnitude(self, state: TrainState, sparsity: float) -> None:
        """Put the masks of the largest magnitudes in force, under this method's distribution."""
        state.set_masks(self.masks(state.magnitudes(), sparsity))

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs beyond the trainer's own state (tensors and plain values only)."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
