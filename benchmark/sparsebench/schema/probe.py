"""Whether a linear head has converged."""

from __future__ import annotations

from typing import Final

from .base import Lenient

UNDERFIT: Final = 0.05
"""A linear head is underfit where its relative gap is more than this."""


class Convergence(Lenient):
    """How far a linear head is from the best one on its training images, at its own penalty.

    The objective is the mean cross-entropy plus ``penalty`` / 2 times the squared norm of weights and bias, in nats;
    ``penalty`` is SGD's weight decay, or a probe's ``l2`` divided by the number of training images. ``optimum`` is its
    minimum, ``gap`` is ``objective`` minus ``optimum``, and ``gradient_norm`` the Euclidean norm of its gradient by
    weights and bias, which is 0 at the minimum.

    ``relative_gap`` is the gap as a fraction of what there was to gain: of the difference between the objective of a
    head that is all zeros (the log of the number of classes) and the optimum. 0 is the best head, 1 one that has
    learned nothing. Above :data:`UNDERFIT` a head counts as underfit: its accuracy depends on the optimiser, too.
    """

    gradient_norm: float
    objective: float
    optimum: float
    gap: float
    relative_gap: float
    penalty: float

    @property
    def underfit(self) -> bool:
        """Whether more training would have lowered the objective by more than a small part of what it can fall."""
        return self.relative_gap > UNDERFIT
