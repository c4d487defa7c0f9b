"""The state of each run of a results folder, from what is found there and in Slurm's queue."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...schema import ResultsError
from ...schema.text import printable
from ...store import Store
from ..logs import log_path
from .traces import Job, Row, Traces, read_traces

State = Literal["done", "running", "queued", "failed", "missing"]
STATES: tuple[State, ...] = ("done", "running", "queued", "failed", "missing")

Cell = tuple[str, str, str]
"""Checkpoint, task and mode."""


@dataclass(frozen=True)
class Trouble:
    """A run that failed, or was lost: begun, or given to a job, that has ended without a record."""

    label: str
    kind: Literal["failed", "lost"]
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
        Failed and lost runs; lost ones count as missing.
    seconds_left : float or None
        An estimate until what runs and is queued has ended; None while nothing runs, or nothing like it has ended.
    notes : tuple of str
        What could not be found out.
    """

    cells: Mapping[Cell, Counter[State]]
    trouble: tuple[Trouble, ...] = ()
    seconds_left: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Counter[State]:
        """The number of runs in each state."""
        return sum(self.cells.values(), Counter())

    @property
    def active(self) -> bool:
        """Whether anything runs or is queued, as far as can be known."""
        return bool(self.notes or self.counts["running"] or self.counts["queued"])

    @property
    def complete(self) -> bool:
        """Whether every run has a record, so that nothing is to come."""
        return self.counts["done"] + self.counts["failed"] == self.counts.total()


def look_over(results: Path, wanted: Callable[[Cell], bool] | None = None) -> Overview:
    """Find out how far the plans in a results folder are, or those of their cells that are wanted.

    Raises
    ------
    ResultsError
        If there is no such folder, it holds curated tables alone, or its records can't be read.
    """
    if not results.is_dir():
        raise ResultsError(f"there is no results folder {str(results)!r}", "name it with --results")
    if not (results / "records").is_dir() and any(results.glob("*.csv")):
        raise ResultsError(
            f"{str(results)!r} holds tables of finished runs, and no records that a status could be read from",
            f"what is in it: sparsebench report --results {shlex.quote(str(results))}",
        )
    known = read_traces(results)
    runs = sorted(run for run in known.planned.keys() | known.rows.keys() if not wanted or wanted(known.cell(run)))
    states = {run: _state(run, known) for run in runs}
    lost = {run: reason for run in runs if states[run] == "missing" and (reason := _why_lost(run, known))}
    store = Store(results)
    for run in lost:  # a record that has come since, or that a network file system shows late
        found = store.find(known.planned[run]) if run in known.planned else None
        if found is not None:
            states[run] = "done" if found.record.status == "ok" else "failed"
    cells: dict[Cell, Counter[State]] = defaultdict(Counter)
    for run, state in states.items():
        cells[known.cell(run)][state] += 1
    trouble = [_failed(run, known) for run in runs if states[run] == "failed"]
    trouble += [_trouble(run, "lost", reason, known) for run, reason in lost.items() if states[run] == "missing"]
    return Overview(
        cells=dict(sorted(cells.items())),
        trouble=tuple(sorted(trouble, key=lambda entry: (entry.kind, entry.label))),
        seconds_left=_seconds_left(states, known),
        notes=known.notes if _may_come(known) else (),
    )


def _state(run: str, known: Traces) -> State:
    row, job, claim = known.rows.get(run), known.jobs.get(run), known.living.get(run)
    if claim is not None and (row is None or row.started < claim.taken):
        return "running"
    if row is not None and row.status == "ok":
        return "done"
    if job is not None and job.queued is not None and not (row is not None and _is_final(row, job)):
        return "queued"
    return "missing" if row is None else "failed"


def _is_final(row: Row, job: Job) -> bool:
    """Return whether a failure is of this job, or came while it was queued: the job doesn't try the run again."""
    return row.started >= job.submitted


def _why_lost(run: str, known: Traces) -> str:
    """Return what is known of a run that was begun, or given to a job, and has no record; nothing for others."""
    job, claim = known.jobs.get(run), known.dead.get(run)
    if claim is not None and not known.is_cancelled(claim.job):
        return f"process {claim.pid} on {claim.host} had it and is gone, or has been silent for too long"
    if job is not None and known.asked and not job.cancelled:
        return f"job {job.job_id} is no longer in the queue and left no record"
    return ""


def _may_come(known: Traces) -> bool:
    """Return whether jobs may run or be queued that Slurm can't be asked about now."""
    return not known.asked and any(
        (row := known.rows.get(run)) is None or not (row.status == "ok" or _is_final(row, job))
        for run, job in known.jobs.items()
        if not job.cancelled
    )


def _failed(run: str, known: Traces) -> Trouble:
    row = known.rows.get(run)
    return _trouble(run, "failed", row.error if row else "its record has just come", known)


def _trouble(run: str, kind: Literal["failed", "lost"], reason: str, known: Traces) -> Trouble:
    own, job = log_path(known.results, run), known.jobs.get(run)
    log = own if own.is_file() else None if job is None else known.results / job.log
    label = " · ".join([*known.cell(run), f"seed {known.seed(run)}"])
    return Trouble(printable(label), kind, printable((reason.splitlines() or ["?"])[0]), log)


def _seconds_left(states: Mapping[str, State], known: Traces) -> float | None:
    """Return the time that is left at the mean time of a run in its mode, shared by the processes at work.

    Where one of them is no job of Slurm, it will come to the missing runs too.
    """
    at_work = [known.living[run] for run, state in states.items() if state == "running"]
    if not at_work:
        return None
    local = any(claim.job is None for claim in at_work)
    times: dict[str, list[float]] = defaultdict(list)
    for row in known.rows.values():
        if row.status == "ok":
            times[row.cell[2]].append(row.seconds)
    to_come = ("running", "queued", "missing") if local else ("running", "queued")
    modes = Counter(known.cell(run)[2] for run, state in states.items() if state in to_come)
    if any(mode not in times for mode in modes):
        return None
    seconds = sum(count * sum(times[mode]) / len(times[mode]) for mode, count in modes.items())
    return seconds / len({(claim.host, claim.pid) for claim in at_work})
