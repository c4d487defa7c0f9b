"""Suite: a selection of tasks and checkpoints, with a protocol per mode."""

from __future__ import annotations

from pydantic import Field, field_validator

from .base import Strict
from .protocol import TRAINED, Mode, Natural


class SuiteMode(Strict):
    """What a suite does in one mode: the protocol's name and the default seeds.

    ``other_tasks`` is the protocol of tasks that the suite doesn't have, where it is another one.
    """

    protocol: str = Field(description="name of the protocol")
    other_tasks: str | None = Field(
        default=None, description="name of the protocol for tasks that the suite doesn't have; by default the same"
    )
    seeds: tuple[Natural, ...] = Field(min_length=1, description="seeds of the runs")

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError("seeds are distinct")
        return value


class Suite(Strict):
    """Tasks, the architectures and checkpoints selected by default, and a protocol for each mode.

    Without ``checkpoints`` a suite takes all that its architectures have.
    """

    id: str = Field(description="its name")
    title: str | None = Field(default=None, description="what it is")
    tasks: tuple[str, ...] = Field(min_length=1, description="ids of its tasks")
    archs: tuple[str, ...] = Field(min_length=1, description="architectures that it selects")
    checkpoints: tuple[str, ...] = Field(
        default=(), description="ids of the checkpoints that it selects; by default all of its architectures"
    )
    modes: dict[Mode, SuiteMode] = Field(description="protocol and seeds by mode")

    @field_validator("modes")
    @classmethod
    def _trained(cls, value: dict[Mode, SuiteMode]) -> dict[Mode, SuiteMode]:
        for mode in value:
            if mode not in TRAINED:
                raise ValueError(f"{mode!r} is no mode of a suite: it tests checkpoints on their own tasks")
        return value

    def protocol_of(self, mode: Mode, *, own_task: bool) -> str:
        """Return the name of the protocol that the suite's own tasks, or others, are run with in a mode."""
        settings = self.modes[mode]
        return settings.protocol if own_task else settings.other_tasks or settings.protocol
