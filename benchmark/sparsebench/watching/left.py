"""How long it takes until what runs and is queued has ended."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ..executors.estimate import Estimator
from ..schema import PlanFile
from ..store import Store
from .evidence import Evidence, job_id
from .overview import State
from .states import is_claimed, taken

_Places = tuple[list[float], list[float]]
"""Seconds that are left to those at work, and the seconds of each piece of work that waits for one of them."""


def seconds_left(known: Evidence, states: Mapping[str, State]) -> float | None:
    """Return the seconds until everything that runs and is queued has ended; None if nothing is.

    A process does its runs one after the other, so as many run at once as there are processes, or jobs of Slurm. What
    a plan still lacks counts where a process that isn't such a job works on it: it will come to that.
    """
    if not any(state in ("running", "queued") for state in states.values()):
        return None
    estimator = Estimator(Store(known.results).read([run_id for run_id in known.planned if run_id in known.rows]))

    def seconds(runs: Iterable[str]) -> float:
        return sum(estimator.run(known.planned[run_id]) for run_id in runs if run_id in known.planned)

    return max(_end(*_in_jobs(known, states, seconds)), _end(*_here(known, states, seconds)))


def _end(busy: Sequence[float], waiting: Sequence[float]) -> float:
    """Return when the last piece of work has ended; with nobody at work, as if one were."""
    places = list(busy) or [0.0]
    heapq.heapify(places)
    for time in waiting:
        heapq.heapreplace(places, places[0] + time)
    return max(places)


def _in_jobs(known: Evidence, states: Mapping[str, State], seconds: Callable[[Iterable[str]], float]) -> _Places:
    """Return the work of Slurm's jobs, those that run and those that wait."""
    runs: dict[str, list[str]] = defaultdict(list)
    for run_id, state in states.items():
        job = known.job_of.get(run_id)
        if state == "queued" and job is not None:
            runs[job.element.job_id].append(run_id)
        elif state == "running" and (name := _job_at_work(run_id, known)) is not None:
            runs[name].append(run_id)
    busy, waiting = [], []
    for name, ids in runs.items():
        queued = known.jobs[name].queued
        if queued is not None and queued.waits:
            waiting.append(seconds(ids))
        else:
            busy.append(max(0.0, seconds(ids) - _elapsed(ids, known)))
    return busy, waiting


def _here(known: Evidence, states: Mapping[str, State], seconds: Callable[[Iterable[str]], float]) -> _Places:
    """Return the work of processes that are no jobs of a submission: what they have, and what their plans lack."""
    newest = {run.run_id: plan for plan in known.plans for group in plan.groups for run in group.runs}
    runs: dict[tuple[str, int], list[str]] = defaultdict(list)
    plans: dict[str, PlanFile] = {}
    for run_id, state in states.items():
        if state == "running" and _job_at_work(run_id, known) is None:
            owner = known.claims[run_id][0].owner
            runs[owner.host, owner.pid].append(run_id)
            if run_id in newest:
                plans[newest[run_id].created] = newest[run_id]
    busy = [max(0.0, seconds(ids) - _elapsed(ids, known)) for ids in runs.values()]
    to_come: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for run_id in {run.run_id for plan in plans.values() for group in plan.groups for run in group.runs}:
        if states.get(run_id) in ("missing", "lost"):
            cell = known.cell(run_id)
            to_come[(*cell, run_id) if cell[2] == "full" else cell].append(run_id)  # the seeds of a probe go together
    return busy, sorted((seconds(ids) for ids in to_come.values()), reverse=True)


def _job_at_work(run_id: str, known: Evidence) -> str | None:
    """Return the submitted job that has claimed a run, if it is one."""
    name = job_id(known.claims[run_id][0].owner)
    return name if name in known.jobs else None


def _elapsed(runs: Iterable[str], known: Evidence) -> float:
    """Return how long the owner of some runs has been at the one it is at: since it claimed it, or ended the last."""
    claimed = [run_id for run_id in runs if is_claimed(run_id, known)]
    if not claimed:
        return 0.0
    since = max(taken(known.claims[run_id][0]) for run_id in claimed)
    cells = {known.cell(run_id) for run_id in claimed}
    ends = [
        row.started + timedelta(seconds=row.seconds)
        for row in known.rows.values()
        if row.cell in cells and row.started >= since
    ]
    return max(0.0, (datetime.now(UTC) - max([since, *ends])).total_seconds())
