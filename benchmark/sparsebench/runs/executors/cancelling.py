"""Cancel what a results folder's submissions hold in Slurm's queue, and nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...schema import InputError, RunError, UnknownNameError
from ...store.jobs import write_submission
from .queued import ask, held
from .squeue import available, queued_jobs

_TIMEOUT = 60.0
_AT_ONCE = 200  # job ids in one call
_AGAIN = "give the same command again"


@dataclass(frozen=True)
class Cancelled:
    """A submission that was cancelled, and how many of its jobs were still in the queue."""

    submission: str
    jobs: int


def cancel(results: Path, names: Sequence[str] = ()) -> list[Cancelled]:
    """Cancel submissions of a results folder.

    A job is cancelled only if the queue holds it as this user's and under the submission's own job name, so that an
    id that Slurm has given out again is left alone. Its runs then count as not submitted; their mid-run states stay.
    A submission counts as cancelled once Slurm has agreed: what is interrupted before that is not, and the same command
    cancels the rest of it.

    Parameters
    ----------
    results : Path
        The results folder.
    names : sequence of str
        Submissions or plans; without any, all that aren't cancelled yet or still have jobs in the queue.

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
    known = ask(results)
    if not known.submissions:
        raise InputError(f"nothing was submitted from {str(results)!r}", "name the results folder with --results")
    known_names = {key for found in known.submissions for key in (found.submission, found.plan)}
    for name in names:
        if name not in known_names:
            raise UnknownNameError("submission", name, known_names)
    done = []
    for found in known.submissions:
        if names and not {found.submission, found.plan} & set(names):
            continue
        jobs = [element.job_id for element in found.elements if held(known.queue, found, element) is not None]
        if not names and found.state == "cancelled" and not jobs:
            continue
        cancel_jobs(jobs, found.job_name)
        write_submission(results, found.model_copy(update={"state": "cancelled"}))
        done.append(Cancelled(found.submission, len(jobs)))
    return done


def cancel_jobs(jobs: Sequence[str], name: str) -> None:
    """Take this user's jobs of one name out of the queue.

    Raises
    ------
    RunError
        If Slurm doesn't agree, and they are still there.
    """
    for start in range(0, len(jobs), _AT_ONCE):
        part = jobs[start : start + _AT_ONCE]
        said = _scancel(part, name)
        if said and _stay(part, name):  # it also complains of jobs that have ended meanwhile
            raise RunError(f"scancel: {said}", _AGAIN)


def _scancel(jobs: Sequence[str], name: str) -> str:
    """Call scancel; return what it says where it fails, else nothing."""
    command = ["scancel", f"--user={os.getuid()}", f"--name={name}", *jobs]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"scancel can't be called: {error}", _AGAIN) from error
    return (done.stderr.strip() or "failed").splitlines()[-1] if done.returncode != 0 else ""


def _stay(jobs: Sequence[str], name: str) -> bool:
    """Return whether any of the jobs is in the queue and not about to leave it."""
    queue = queued_jobs()
    left = [queue[job] for job in jobs if job in queue]
    return any(job.name == name and job.state != "COMPLETING" for job in left)
