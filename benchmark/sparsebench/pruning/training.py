"""How a network is trained upstream: the part of a recipe that isn't the method's own, and its published values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .schedules import Drops
from .settings import Value

Decay = Literal["all", "weights"]
"""What weight decay acts on: every parameter, or convolution and linear weights alone (no bias, no batch norm)."""

End = Literal["stem", "head"]
"""A layer that recipes may leave dense, whatever it is called in an architecture."""

DECAYS: tuple[Decay, ...] = ("all", "weights")


@dataclass(frozen=True)
class Training:
    """Stochastic gradient descent with momentum, a learning-rate schedule, and which layers stay dense.

    Parameters
    ----------
    lr : float
        Highest learning rate.
    epochs : int
        Length, of a round for a method whose length follows from its rounds; 0 for one that doesn't train.
    batch_size : int
        Images per step.
    momentum : float
        Of the optimizer.
    nesterov : bool
        Whether it is Nesterov's.
    weight_decay : float
        L2 coefficient.
    decay_on : str
        What it acts on, see :data:`Decay`.
    label_smoothing : float
        Share of the target that is spread over all classes.
    warmup : float
        Fraction of the training in which the rate rises linearly.
    drops : tuple of (float, float)
        Fractions of the training and multiples of the highest rate from there on; empty for a cosine to zero.
    dense : mapping of str to tuple of str
        Layers that stay dense, by distribution; those of ``""`` where a distribution isn't named.
    """

    lr: float = 0.2
    epochs: int = 20
    batch_size: int = 128
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay_on: Decay = "all"
    label_smoothing: float = 0.0
    warmup: float = 0.05
    drops: Drops = ()
    dense: Mapping[str, tuple[End, ...]] = field(default_factory=lambda: {"": ("stem", "head")})

    def dense_ends(self, distribution: str) -> tuple[End, ...]:
        """Return which of stem and head stay dense under a distribution."""
        return self.dense.get(distribution, self.dense[""])


@dataclass(frozen=True)
class Published:
    """A method's published recipe on ImageNet's ResNet-50.

    Parameters
    ----------
    training : Training
        How it trained.
    settings : mapping of str to float or str
        The method's own settings, where they differ from the defaults here.
    source : str
        Where the values are published.
    """

    training: Training
    settings: Mapping[str, Value] = field(default_factory=dict)
    source: str = ""


PRUNED_THROUGHOUT: Mapping[str, tuple[End, ...]] = {"": (), "uniform": ("stem", "head"), "nm": ("stem",)}
"""Stem and head are pruned too, but under ``uniform``; the stem's three inputs don't divide into groups of N:M."""
