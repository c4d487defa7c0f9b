"""What is known of the runs of a results folder, read in the order in which a run leaves its traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ..executors.queued import held, with_strays
from ..executors.squeue import QueuedJob, available, queued_jobs
from ..schema import Mode, PlanFile, RunError, RunSpec, Status
from ..store import Claim, Store, read_claims
from ..store.jobs import Element, Submission, read_submissions
from ..store.owner import Owner
from ..store.plans import read_plans


@dataclass(frozen=True)
class Row:
    """What matters here of a run's record."""

    status: Status
    error: str
    cell: tuple[str, str, Mode]
    seed: int
    started: datetime
    seconds: float


@dataclass(frozen=True)
class Job:
    """A job that was given runs: ``queued`` is what the queue says of it, None where it isn't there, or unknown."""

    submission: Submission
    element: Element
    queued: QueuedJob | None

    @property
    def cancelled(self) -> bool:
        """Whether its submission was cancelled; it may still be on its way out."""
        return self.submission.state == "cancelled"


@dataclass(frozen=True)
class Evidence:
    """What was found.

    ``asked`` says whether Slurm has told its queue. ``claims`` are by run, each with whether its process may live;
    ``job_of`` is a run's job, the newest that the queue holds if there is one; ``jobs`` are all jobs by their ids.
    """

    results: Path
    asked: bool
    jobs: Mapping[str, Job]
    job_of: Mapping[str, Job]
    claims: Mapping[str, tuple[Claim, bool]]
    rows: Mapping[str, Row]
    plans: tuple[PlanFile, ...]
    planned: Mapping[str, RunSpec]
    notes: list[str] = field(default_factory=list)

    def cell(self, run_id: str) -> tuple[str, str, Mode]:
        """Return the checkpoint, task and mode of a run."""
        spec = self.planned.get(run_id)
        return (spec.checkpoint, spec.task, spec.mode) if spec is not None else self.rows[run_id].cell

    def seed(self, run_id: str) -> int:
        """Return the seed of a run."""
        spec = self.planned.get(run_id)
        return spec.seed if spec is not None else self.rows[run_id].seed


def gather(results: Path) -> Evidence:
    """Look at a results folder, once.

    Submissions, then the queue, then claims, then records: a run that ends meanwhile has left its record before its
    claim and its job go, so it is seen as done, never as lost.
    """
    submissions, notes = read_submissions(results), list[str]()
    queue = _queue(notes) if submissions else None
    known = submissions if queue is None else with_strays(results, submissions, queue)
    jobs = [Job(one, element, held(queue or {}, one, element)) for one in known for element in one.elements]
    claims = _claims(results, {job.element.job_id: job for job in jobs}, queue is not None)
    store = Store(results)
    rows = _rows(store)
    plans = tuple(read_plans(store.plans_dir))
    return Evidence(
        results=results,
        asked=queue is not None,
        jobs={job.element.job_id: job for job in jobs},
        job_of=_job_of(jobs),
        claims=claims,
        rows=rows,
        plans=plans,
        planned={run.run_id: run for plan in plans for group in plan.groups for run in group.runs},
        notes=notes,
    )


def job_id(owner: Owner) -> str | None:
    """Return the id of the Slurm job that a process is in, as the queue and the submissions call it."""
    if owner.slurm_array_job is not None and owner.slurm_array_task is not None:
        return f"{owner.slurm_array_job}_{owner.slurm_array_task}"
    return owner.slurm_job


def _queue(notes: list[str]) -> dict[str, QueuedJob] | None:
    """Return Slurm's queue if it can be asked; else note why not."""
    if not available():
        notes.append("jobs were submitted to Slurm, but there is no squeue here to ask about them")
        return None
    try:
        return queued_jobs()
    except RunError as error:
        notes.append(f"Slurm's queue is not known now: {error.message}")
        return None


def _job_of(jobs: list[Job]) -> dict[str, Job]:
    """Return each run's job: of those in the queue if any is, not cancelled if possible, the newest."""
    chosen: dict[str, Job] = {}
    for job in sorted(jobs, key=lambda job: (job.queued is not None, not job.cancelled)):  # stable: oldest first
        chosen |= dict.fromkeys(job.element.runs, job)
    return chosen


def _claims(results: Path, jobs: Mapping[str, Job], asked: bool) -> dict[str, tuple[Claim, bool]]:
    """Return the claims by run, each with whether its process may live.

    One whose job has left the queue, waits there to start again, or has started again since, is dead before its lease
    runs out.
    """
    found = read_claims(results)
    starts: dict[str, int] = {}
    for claim, _, _ in found:
        name = job_id(claim.owner)
        if name is not None:
            starts[name] = max(starts.get(name, 0), claim.owner.slurm_restarts)
    claims = {}
    for claim, _, dead in found:
        name = job_id(claim.owner)
        if name is not None and name in jobs:
            queued = jobs[name].queued
            gone = asked and (queued is None or queued.waits)
            dead = dead or gone or claim.owner.slurm_restarts < starts[name]
        claims[claim.run_id] = claim, not dead
    return claims


def _rows(store: Store) -> dict[str, Row]:
    """Return what matters of every recorded run."""
    if not store.records_dir.is_dir():
        return {}
    rows = store.rows()
    names = ("run_id", "status", "error", "checkpoint", "task", "mode", "seed", "started", "seconds")
    return {
        run_id: Row(status, error or "", (checkpoint, task, mode), int(seed), _date(started), float(seconds or 0.0))
        for run_id, status, error, checkpoint, task, mode, seed, started, seconds in zip(
            *(rows[name].tolist() for name in names), strict=True
        )
    }


def _date(text: str | None) -> datetime:
    """Return a record's date; one that can't be read is long ago."""
    try:
        return datetime.fromisoformat(text or "").astimezone()
    except ValueError:
        return datetime.fromisoformat("1970-01-01T00:00:00+00:00")
