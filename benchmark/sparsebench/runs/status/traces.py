"""What runs have left in a results folder and in Slurm's queue, read in the order in which they leave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...schema import RunError, RunSpec, Status
from ...store import Claim, Store, read_claims
from ...store.jobs import read_submissions
from ...store.plans import read_plans
from ..executors.queued import held, with_untracked
from ..executors.squeue import QueuedJob, available, queued_jobs


@dataclass(frozen=True)
class Row:
    """What matters here of a run's record."""

    status: Status
    error: str
    cell: tuple[str, str, str]
    seed: int
    started: datetime
    seconds: float


@dataclass(frozen=True)
class Job:
    """A job that was given runs; ``queued`` is what the queue says of it, None where it isn't there, or unknown."""

    job_id: str
    log: str
    submitted: datetime
    cancelled: bool
    queued: QueuedJob | None


@dataclass(frozen=True)
class Traces:
    """What was found, by run: its record, its job, and its claim, living or dead.

    ``asked`` says whether Slurm has answered what is queued; ``notes`` say why not.
    """

    results: Path
    asked: bool
    notes: tuple[str, ...]
    jobs: Mapping[str, Job]
    living: Mapping[str, Claim]
    dead: Mapping[str, Claim]
    rows: Mapping[str, Row]
    planned: Mapping[str, RunSpec]
    cancelled: frozenset[str]

    def cell(self, run: str) -> tuple[str, str, str]:
        """Return the checkpoint, task and mode of a run."""
        spec = self.planned.get(run)
        return self.rows[run].cell if spec is None else (spec.checkpoint, spec.task, spec.mode)

    def seed(self, run: str) -> int:
        """Return the seed of a run."""
        spec = self.planned.get(run)
        return self.rows[run].seed if spec is None else spec.seed

    def is_cancelled(self, job_id: str | None) -> bool:
        """Return whether a job was cancelled: what it had counts as not submitted."""
        return job_id in self.cancelled


def read_traces(results: Path) -> Traces:
    """Look at a results folder, once.

    Submissions, then the queue, then claims, then records: a run that ends meanwhile has left its record before its
    claim and its job go, so it is seen as done, never as lost.
    """
    submissions, notes = read_submissions(results), list[str]()
    queue = _queue(notes) if submissions else None
    jobs = [
        (element.runs, Job(element.job_id, element.log, datetime.fromisoformat(one.created), one.state == "cancelled",
                           held(queue or {}, one, element)))
        for one in (submissions if queue is None else with_untracked(results, submissions, queue))
        for element in one.elements
    ]  # fmt: skip
    by_id = {job.job_id: job for _, job in jobs}
    living, dead = dict[str, Claim](), dict[str, Claim]()
    for found in read_claims(results):
        job = by_id.get(found.claim.job or "")
        gone = job is not None and queue is not None and (job.queued is None or job.queued.waits)
        (dead if found.dead or gone else living)[found.claim.key] = found.claim
    store = Store(results)
    rows = _rows(store)
    # of several jobs of a run: one in the queue if there is any, not cancelled if possible, the newest
    jobs.sort(key=lambda pair: (pair[1].queued is not None, not pair[1].cancelled))
    return Traces(
        results=results,
        asked=queue is not None,
        notes=tuple(notes),
        jobs={run: job for runs, job in jobs for run in runs},
        living=living,
        dead=dead,
        rows=rows,
        planned={
            run.record_key: run for plan in read_plans(store.plans_dir) for group in plan.groups for run in group.runs
        },
        cancelled=frozenset(job.job_id for _, job in jobs if job.cancelled),
    )


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


def _rows(store: Store) -> dict[str, Row]:
    """Return what matters of every recorded run."""
    if not store.records_dir.is_dir():
        return {}
    names = ("record_key", "status", "error", "checkpoint", "task", "mode", "seed", "started", "seconds")
    rows = store.rows(names)
    return {
        key: Row(status, error or "", (checkpoint, task, mode), int(seed), _date(started), float(seconds or 0.0))
        for key, status, error, checkpoint, task, mode, seed, started, seconds in zip(
            *(rows[name].tolist() for name in names), strict=True
        )
    }


def _date(text: str | None) -> datetime:
    """Return a record's date; one that can't be read is long ago."""
    try:
        return datetime.fromisoformat(text or "").astimezone()
    except (ValueError, OverflowError):
        return datetime.fromisoformat("1970-01-01T00:00:00+00:00")
