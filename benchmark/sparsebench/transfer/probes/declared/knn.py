"""Nearest neighbours, and what they set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from ....extensions import Probe, Settings

Count = Annotated[int, Field(strict=True, ge=1)]


class Neighbours(Settings):
    """Numbers of neighbours to choose from, and the temperature of their votes."""

    k: tuple[Count, ...] = Field(
        default=(1, 5, 10, 20, 50, 100, 200), min_length=1, description="numbers of neighbours to choose from on val"
    )
    temperature: float = Field(
        strict=True, default=0.07, gt=0, allow_inf_nan=False, description="temperature of the votes"
    )

    @field_validator("k")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("numbers of neighbours are distinct and ascending")
        return value


class KNNSettings(Settings):
    """What nearest neighbours set."""

    neighbours: Neighbours = Field(default=Neighbours(), description="neighbours to choose from, and their votes")

    @property
    def chooses(self) -> bool:
        """Whether their number is chosen on val."""
        return len(self.neighbours.k) > 1


KNN = Probe(
    name="knn",
    summary="weighted nearest neighbours by cosine, their number chosen on validation",
    fit="sparsebench.transfer.probes.knn:fit_seeds",
    settings=KNNSettings,
    protocol="knn-linear",
    seeded=False,
    keeps_head=False,
    place=4,
)
