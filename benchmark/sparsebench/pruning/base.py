"""The interface of a pruning method: what it is called, what it may do, and when, while the trainer trains.

The class of a method is its declaration: name, summary, settings, defaults and published recipe are read from it by
``prune``, ``list methods``, tables, legends and docs. A module that declares one imports torch where it computes, so
that all this stays quick.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..schema import InputError
from .patterns import check_pattern, check_sparsity
from .settings import MethodSettings, Value, read_settings
from .training import Published, Training

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .schedules import LearningRate
    from .state import Result, TrainState


class PruningMethod:
    """Base class: a method says what it is, and overrides the moments it cares about.

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
        Values for the method's own hyperparameters, the fields of :attr:`settings_model`.

    Attributes
    ----------
    name : str
        The method's id.
    title, summary : str
        Its name in print, and what it is, in a few words.
    spellings : tuple of str
        Other names in use.
    colour, marker : str
        How it is drawn; chosen by its name where they are left out.
    place : int
        Where it comes in tables and legends: lower first, then by name.
    start : str
        ``scratch``, or ``dense`` for a method that starts from trained dense weights.
    serves : str
        Whether ``one`` or ``several`` sparsities come from one training.
    dense_network : str
        Which dense network it leaves beside the sparse ones, if any.
    training : Training
        Defaults of the recipe; a method of no epochs doesn't train.
    published : Published
        The recipe of its publication.
    distributions : tuple of str
        The distributions it can make, its default first.
    settings_model : type of MethodSettings
        Its own hyperparameters, with defaults and bounds; a method's values are :attr:`settings`.

    Raises
    ------
    InputError
        If a sparsity or setting is impossible or the method can't make the distribution.
    UnknownNameError
        If it has no such setting.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    spellings: ClassVar[tuple[str, ...]] = ()
    colour: ClassVar[str] = ""
    marker: ClassVar[str] = ""
    place: ClassVar[int] = 1000
    start: ClassVar[Literal["scratch", "dense"]] = "scratch"
    serves: ClassVar[Literal["one", "several"]] = "one"
    dense_network: ClassVar[str] = ""
    training: ClassVar[Training] = Training()
    published: ClassVar[Published | None] = None
    distributions: ClassVar[tuple[str, ...]] = ("global", "uniform", "erk", "nm")
    settings_model: ClassVar[type[MethodSettings]] = MethodSettings

    settings: Any

    def __init__(
        self,
        sparsity: float,
        distribution: str | None = None,
        nm: tuple[int, int] | None = None,
        also: tuple[float, ...] = (),
        **settings: Value,
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
        if len(self.sparsities) > 1 and self.serves == "one":
            raise InputError(f"method {self.name} makes one sparsity per training", "give one --sparsity")
        self.settings = read_settings(self.settings_model, self.name, settings)

    @classmethod
    def trains(cls) -> bool:
        """Return whether it trains at all."""
        return cls.training.epochs > 0

    def check_layers(self, weights: Mapping[str, Tensor]) -> None:
        """Raise :class:`InputError` if the layers can't have a sparsity asked for under the distribution."""
        for sparsity in self.sparsities:
            if sparsity > 0:
                self.masks({name: w.detach().abs() for name, w in weights.items()}, sparsity)

    def chosen_settings(self) -> dict[str, Value]:
        """Return the values of the method's own hyperparameters."""
        return dict(self.settings.model_dump())

    def default_epochs(self, training: Training) -> int:
        """Return the length of a training in epochs unless the user says otherwise."""
        return training.epochs

    def learning_rate(self, step: int, total: int, schedule: LearningRate) -> float:
        """Return the learning rate of a 0-based step of ``total``."""
        return schedule.at(step, total)

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
        from .state import Result

        yield Result(self.sparsity, state.snapshot(), state.masks)

    def masks(self, scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
        """Return the masks that keep the largest scores, under this method's distribution."""
        from .distributions import masks_for

        return masks_for(scores, sparsity, self.distribution, self.nm)

    def prune_by_magnitude(self, state: TrainState, sparsity: float) -> None:
        """Put the masks of the largest magnitudes in force, under this method's distribution."""
        state.set_masks(self.masks(state.magnitudes(), sparsity))

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs beyond the trainer's own state (tensors and plain values only)."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
