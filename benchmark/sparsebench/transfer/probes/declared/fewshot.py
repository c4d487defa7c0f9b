"""Nearest centroids of few images, and what they set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from ....extensions import Probe, Settings

Count = Annotated[int, Field(strict=True, ge=1)]


class FewShot(Settings):
    """Images per class, each with as many random draws; the headline is the largest."""

    shots: tuple[Count, ...] = Field(default=(1, 2, 5, 10), min_length=1, description="images per class")
    draws: int = Field(strict=True, default=100, ge=2, le=100_000, description="random draws for each number of images")

    @field_validator("shots")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("numbers of images per class are distinct and ascending")
        return value


class FewShotSettings(Settings):
    """What a few-shot probe sets."""

    few_shot: FewShot = Field(default=FewShot(), description="numbers of images per class, and draws")


FEWSHOT = Probe(
    name="fewshot",
    summary="nearest centroid of few images per class, over many draws",
    fit="sparsebench.transfer.probes.fewshot:fit_seeds",
    settings=FewShotSettings,
    protocol="fewshot-linear",
    keeps_head=False,
    place=5,
)
