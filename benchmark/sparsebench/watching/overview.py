"""What a look at a results folder gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["done", "running", "queued", "failed", "lost", "missing"]
STATES: tuple[State, ...] = ("done", "running", "queued", "failed", "lost", "missing")
"""``lost``: a process or job had the run and is gone without a record. ``missing``: nobody has it."""

Cell = tuple[str, str, str]
"""Checkpoint, task and mode."""


@dataclass(frozen=True)
class Trouble:
    """A run that failed or was lost: what is known of why, and where its log is (None if there is none)."""

    label: str
    state: State
    reason: str
    log: Path | None


@dataclass(frozen=True)
class Overview:
    """How far things are.

    Parameters
    ----------
    cells : mapping of (checkpoint, task, mode) to counts by state
        Every planned or recorded run, in sorted order.
    trouble : tuple of Trouble
        Failed and lost runs.
    seconds_left : float or None
        An estimate until everything running and queued has ended; None while nothing is.
    notes : tuple of str
        What could not be found out.
    unsure : bool
        Jobs may run or be queued, but Slurm can't be asked.
    """

    cells: Mapping[Cell, Counter[State]]
    trouble: tuple[Trouble, ...]
    seconds_left: float | None
    notes: tuple[str, ...] = ()
    unsure: bool = False

    @property
    def counts(self) -> Counter[State]:
        """The number of runs in each state."""
        return sum(self.cells.values(), Counter())

    @property
    def active(self) -> bool:
        """Whether anything runs or is queued, as far as can be known."""
        counts = self.counts
        return self.unsure or counts["running"] + counts["queued"] > 0

    @property
    def complete(self) -> bool:
        """Whether every run has a record that stands, so that nothing is to come."""
        counts = self.counts
        return counts["done"] + counts["failed"] == counts.total()
