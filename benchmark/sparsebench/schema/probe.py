"""What the probes other than SGD have to set: an L2 path, numbers of neighbours, images a class."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from .base import Strict

Count = Annotated[int, Field(strict=True, ge=1)]


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
            raise ValueError("numbers of images a class are distinct and ascending")
        return value
