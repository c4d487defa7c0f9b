"""Cancel what a results folder's submissions hold in Slurm's queue, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..schema import InputError, RunError, UnknownNameError
from ..store.jobs import Submission, write_submission
from .queued import known_submissions
from .squeue import QueuedJob, available, queued_jobs

_TIMEOUT = 60.0
_AT_ONCE = 200  # job ids in one call


@dataclass(frozen=True)
class Cancelled:
    """A submission that was cancelled, and how many of its jobs were still in the queue."""

    submission: str
    jobs: int


def cancel(results: Path, names: Sequence[str] = ()) -> list[Cancelled]:
    """Cancel submissions of a results folder.

    A job is cancelled only if the queue holds it as this user's and under the submission's own job name, so that an
    id that Slurm has given out again is left alone. Its runs then count as not submitted; their mid-run states stay.

    Parameters
    ----------
    results : Path
        The results folder.
    names : sequence of str
        Submissions or plans; without any, all that aren't cancelled yet.

    Raises
    ------
    UnknownNameError
        If a name is neither.
    InputError
        If nothing was submitted from this folder, or Slurm's commands aren't here.
    RunError
        If the queue can't be asked, or refuses.
    """
    if not available():
        raise InputError("there is no squeue here", "cancel where Slurm's commands are")
    queue = queued_jobs()
    submissions = known_submissions(results, queue)
    if not submissions:
        raise InputError(f"nothing was submitted from {str(results)!r}", "name the results folder with --results")
    known = {key for found in submissions for key in (found.submission, found.plan)}
    for name in names:
        if name not in known:
            raise UnknownNameError("submission", name, known)
    done = []
    for found in submissions:
        if names and not {found.submission, found.plan} & set(names):
            continue
        if not names and found.state == "cancelled" and not any(_holds(queue, e.job_id, found) for e in found.elements):
            continue
        jobs = [element.job_id for element in found.elements if _holds(queue, element.job_id, found)]
        # noted first: what is interrupted between the two is cancelled by the same command again
        write_submission(results, found.model_copy(update={"state": "cancelled"}))
        for start in range(0, len(jobs), _AT_ONCE):
            _scancel(jobs[start : start + _AT_ONCE])
        done.append(Cancelled(found.submission, len(jobs)))
    return done


def _holds(queue: Mapping[str, QueuedJob], job_id: str, submission: Submission) -> bool:
    job = queue.get(job_id)
    return job is not None and job.name == submission.job_name


def _scancel(jobs: Sequence[str]) -> None:
    try:
        done = subprocess.run(["scancel", *jobs], capture_output=True, text=True, timeout=_TIMEOUT, check=False)  # noqa: S603, S607
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"scancel can't be called: {error}", "give the same command again") from error
    if done.returncode != 0:
        raise RunError(f"scancel: {(done.stderr.strip() or 'failed').splitlines()[-1]}", "give the same command again")
