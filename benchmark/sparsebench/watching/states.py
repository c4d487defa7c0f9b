"""The state of a run, from what is known of it."""

from __future__ import annotations

from datetime import datetime

from ..schema import ResultsError
from ..store import Claim, Store
from .evidence import Evidence, Job, Row, job_id
from .overview import State


def state_of(run_id: str, known: Evidence) -> State:
    """Return the state of a run."""
    row = known.rows.get(run_id)
    if is_claimed(run_id, known):
        return "running"
    if row is not None and row.status == "ok":
        return "done"
    job = known.job_of.get(run_id)
    if job is not None and job.queued is not None and not (row is not None and _stands(row, job)):
        return "queued"
    if row is not None:
        return "failed"
    return _unrecorded(run_id, known)


def is_claimed(run_id: str, known: Evidence) -> bool:
    """Return whether a process that may live has a run, and hasn't written its record yet."""
    claim, lives = known.claims.get(run_id, (None, False))
    row = known.rows.get(run_id)
    return claim is not None and lives and (row is None or row.started < taken(claim))


def taken(claim: Claim) -> datetime:
    """Return when a claim was made, by the clock that dates its run's record too."""
    return datetime.fromisoformat(claim.taken)


def may_come(known: Evidence) -> bool:
    """Return whether jobs may run or be queued that Slurm can't be asked about now."""
    if known.asked:
        return False
    return any(
        run_id not in known.rows or (known.rows[run_id].status != "ok" and not _stands(known.rows[run_id], job))
        for run_id, job in known.job_of.items()
        if not job.cancelled
    )


def why_lost(run_id: str, known: Evidence) -> str:
    """Return what is known of a run that was lost."""
    claim, _ = known.claims.get(run_id, (None, False))
    job = known.job_of.get(run_id)
    if claim is not None and (job is None or job_id(claim.owner) != job.element.job_id):
        owner = claim.owner
        return f"process {owner.pid} on {owner.host} had it and is gone, or its lease has run out"
    name = job.element.job_id if job is not None else "?"
    return f"job {name} is no longer in the queue and left no record"


def _stands(row: Row, job: Job) -> bool:
    """Return whether a failure is this job's own, or came while it was queued: the job doesn't try the run again."""
    return row.started >= datetime.fromisoformat(job.submission.created)


def _unrecorded(run_id: str, known: Evidence) -> State:
    """Return the state of a run that nobody has now, and that had no record when the records were listed."""
    claim, _ = known.claims.get(run_id, (None, False))
    job = known.job_of.get(run_id)
    lost = job is not None and known.asked and not job.cancelled
    if claim is not None:
        owner = known.jobs.get(job_id(claim.owner) or "")
        lost = lost or owner is None or not owner.cancelled  # what was cancelled counts as not submitted
    if not lost:
        return "missing"
    return _recorded_since(run_id, known) or "lost"


def _recorded_since(run_id: str, known: Evidence) -> State | None:
    """Return the state that a record gives which has come since, or which a network file system shows late."""
    spec = known.planned.get(run_id)
    if spec is None:
        return None
    try:
        found = Store(known.results).find(spec)
    except ResultsError:
        return None
    if found is None:
        return None
    return "done" if found.record.status == "ok" else "failed"
