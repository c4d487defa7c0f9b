"""How far the plans of a results folder are: from its records, its claims, its submissions and Slurm's queue.

What loads torch is imported when something runs or was submitted, so that a look at finished work answers at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from .executors.squeue import QueuedJob, available, queued_jobs
from .logs import log_path
from .schema import ResultsError, RunError, RunSpec
from .store import Claim, Store, read_claims
from .store.jobs import Submission, read_submissions
from .store.plans import read_plans

State = Literal["done", "running", "queued", "failed", "lost", "missing"]
STATES: tuple[State, ...] = ("done", "running", "queued", "failed", "lost", "missing")
"""``lost``: a process or job had the run and is gone without a record. ``missing``: nobody has it."""


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
    """

    cells: Mapping[tuple[str, str, str], Counter[State]]
    trouble: tuple[Trouble, ...]
    seconds_left: float | None
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Counter[State]:
        """The number of runs in each state."""
        return sum(self.cells.values(), Counter())

    @property
    def active(self) -> bool:
        """Whether anything runs or is queued."""
        counts = self.counts
        return counts["running"] + counts["queued"] > 0


def look_over(results: Path) -> Overview:
    """Find out how far the plans in a results folder are.

    Raises
    ------
    ResultsError
        If there is no such folder, or its records can't be read.
    """
    if not results.is_dir():
        raise ResultsError(f"there is no results folder {str(results)!r}", "name it with --results")
    return _Look(results).overview()


class _Look:
    """One look at a results folder."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.rows = _rows(Store(results))
        self.planned: dict[str, RunSpec] = {}
        for plan in read_plans(Store(results).plans_dir):
            self.planned |= {run.run_id: run for group in plan.groups for run in group.runs}
        self.claims = {claim.run_id: (claim, dead) for claim, _, dead in read_claims(results)}
        self.notes: list[str] = []
        submissions = read_submissions(results)
        self.queue = self._ask_queue(submissions)
        self.jobs: dict[str, tuple[str, str, bool]] = {}  # run to its newest job's id, log, whether it is in the queue
        if self.queue is not None:
            from .executors.queued import known_submissions

            submissions = known_submissions(results, self.queue)
        for submission in submissions:
            self._note_jobs(submission)

    def overview(self) -> Overview:
        """Return what was found."""
        cells: dict[tuple[str, str, str], Counter[State]] = {}
        trouble: list[Trouble] = []
        states: dict[str, State] = {}
        for run_id in self.planned.keys() | self.rows.keys():
            state = states[run_id] = self._state(run_id)
            cell = self._cell(run_id)
            cells.setdefault(cell, Counter())[state] += 1
            if state in ("failed", "lost"):
                trouble.append(self._trouble(run_id, state))
        ordered = {cell: cells[cell] for cell in sorted(cells)}
        trouble.sort(key=lambda entry: (entry.state, entry.label))
        return Overview(ordered, tuple(trouble), self._seconds_left(states), tuple(self.notes))

    def _ask_queue(self, submissions: list[Submission]) -> dict[str, QueuedJob] | None:
        """Return Slurm's queue, if it matters here and can be asked."""
        if not any(submission.state != "cancelled" for submission in submissions):
            return None
        if not available():
            self.notes.append("jobs were submitted to Slurm, but there is no squeue here to ask about them")
            return None
        try:
            return queued_jobs()
        except RunError as error:
            self.notes.append(f"Slurm's queue is not known now: {error.message}")
            return None

    def _note_jobs(self, submission: Submission) -> None:
        if submission.state == "cancelled":
            return
        for element in submission.elements:
            job = self.queue.get(element.job_id) if self.queue is not None else None
            there = job is not None and job.name == submission.job_name
            for run_id in element.runs:
                if not (self.jobs.get(run_id) or ("", "", False))[2]:
                    self.jobs[run_id] = element.job_id, element.log, there

    def _state(self, run_id: str) -> State:
        claim, dead = self.claims.get(run_id, (None, False))
        if claim is not None and not dead:
            return "running"
        job = self.jobs.get(run_id)
        status = self.rows[run_id][0] if run_id in self.rows else None
        if job is not None and job[2] and status != "ok":
            return "queued"
        if status is not None:
            return "done" if status == "ok" else "failed"
        if claim is not None or (job is not None and self.queue is not None):
            return "lost"
        return "missing"

    def _cell(self, run_id: str) -> tuple[str, str, str]:
        spec = self.planned.get(run_id)
        return (spec.checkpoint, spec.task, spec.mode) if spec is not None else self.rows[run_id][2]

    def _trouble(self, run_id: str, state: State) -> Trouble:
        *cell, seed = *self._cell(run_id), self._seed(run_id)
        own = log_path(self.results, run_id)
        job = self.jobs.get(run_id)
        log = own if own.is_file() else None if job is None else self.results / job[1]
        reason = self.rows[run_id][1] if state == "failed" else self._lost(run_id)
        return Trouble(f"{' · '.join(cell)} · seed {seed}", state, reason, log)

    def _lost(self, run_id: str) -> str:
        claim, _ = self.claims.get(run_id, (None, False))
        if claim is not None:
            owner = claim.owner
            where = f"process {owner.pid} on {owner.host}"
            return f"{where} had it and is gone, or its lease has run out"
        return f"job {self.jobs[run_id][0]} is no longer in the queue and left no record"

    def _seed(self, run_id: str) -> int:
        spec = self.planned.get(run_id)
        return spec.seed if spec is not None else self.rows[run_id][3]

    def _seconds_left(self, states: Mapping[str, State]) -> float | None:
        active = [run_id for run_id, state in states.items() if state in ("running", "queued")]
        known = [self.planned[run_id] for run_id in active if run_id in self.planned]
        if not known:
            return None
        from .executors.estimate import Estimator

        estimator = Estimator(Store(self.results).read([run_id for run_id in self.planned if run_id in self.rows]))
        left = [max(0.0, estimator.run(spec) - self._elapsed(spec.run_id)) for spec in known]
        at_once = max(1, sum(states[run_id] == "running" for run_id in active))
        return max(max(left), sum(left) / at_once)

    def _elapsed(self, run_id: str) -> float:
        found: tuple[Claim, bool] | None = self.claims.get(run_id)
        if found is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(found[0].taken)).total_seconds())


_Row = tuple[str, str, tuple[str, str, str], int]


def _rows(store: Store) -> dict[str, _Row]:
    """Return status, error, cell and seed of every recorded run."""
    if not store.records_dir.is_dir():
        return {}
    rows = store.rows()
    names = ("run_id", "status", "error", "checkpoint", "task", "mode", "seed")
    return {
        run_id: (status, error or "", (checkpoint, task, mode), int(seed))
        for run_id, status, error, checkpoint, task, mode, seed in zip(
            *(rows[name].tolist() for name in names), strict=True
        )
    }
