"""What the probes other than SGD have to set, and whether a linear head has converged."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, field_validator, model_validator

from .base import Lenient, Strict

Count = Annotated[int, Field(strict=True, ge=1)]


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


class Strengths(Strict):
    """L2 penalties to choose from, logarithmically spaced; one value (``low`` = ``high``) leaves nothing to choose.

    A penalty multiplies half the squared norm of the weights where the losses of all images are summed.
    """

    low: float = Field(strict=True, default=1e-6, gt=0, allow_inf_nan=False)
    high: float = Field(strict=True, default=1e5, gt=0, allow_inf_nan=False)
    count: int = Field(strict=True, default=45, ge=1, le=1000)

    @model_validator(mode="after")
    def _is_a_range(self) -> Strengths:
        if (self.low < self.high) != (self.count > 1) or self.low > self.high:
            raise ValueError("several penalties run from 'low' to a larger 'high', a single one has both equal")
        return self

    def values(self) -> tuple[float, ...]:
        """Return the penalties, largest first."""
        if self.count == 1:
            return (self.high,)
        ratio = (self.low / self.high) ** (1 / (self.count - 1))
        return tuple(self.high * ratio**k for k in range(self.count))


class Neighbours(Strict):
    """Numbers of neighbours to choose from, and the temperature of their votes."""

    k: tuple[Count, ...] = Field(default=(1, 5, 10, 20, 50, 100, 200), min_length=1)
    temperature: float = Field(strict=True, default=0.07, gt=0, allow_inf_nan=False)

    @field_validator("k")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("numbers of neighbours are distinct and ascending")
        return value


class FewShot(Strict):
    """Images a class, each with as many random draws; the headline is the largest."""

    shots: tuple[Count, ...] = Field(default=(1, 2, 5, 10), min_length=1)
    draws: int = Field(strict=True, default=100, ge=2, le=100_000)

    @field_validator("shots")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("numbers of images per class are distinct and ascending")
        return value
