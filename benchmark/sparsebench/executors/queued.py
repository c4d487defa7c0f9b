"""Which runs are in the queue: what a results folder's submissions say, and what Slurm says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ..store.jobs import Element, JobArray, Submission, jobs_dir, read_submissions, write_submission
from .squeue import QueuedJob
from .submission import read_array

_SUBMITTING_SECONDS = 60.0
"""How long a submission that is under way is waited for; one that takes longer was probably killed."""
_POLL_SECONDS = 0.2


def known_submissions(results: Path, queue: Mapping[str, QueuedJob]) -> list[Submission]:
    """Return the submissions of a results folder, with arrays that were queued but, their command killed, not noted."""
    return [
        _with_strays(results, found, queue) if found.state == "submitting" else found
        for found in read_submissions(results)
    ]


def queued_runs(results: Path, queue: Mapping[str, QueuedJob]) -> dict[str, str]:
    """Return the runs that jobs in the queue hold, each with its job's id."""
    return {
        run: element.job_id
        for submission in known_submissions(results, queue)
        if submission.state != "cancelled"
        for element in submission.elements
        if element.job_id in queue and queue[element.job_id].name == submission.job_name
        for run in element.runs
    }


def settle(results: Path, queue: Mapping[str, QueuedJob]) -> None:
    """Note the jobs of submissions whose commands were killed while they submitted.

    Raises
    ------
    RunError
        If it can't be written.
    """
    for submission in known_submissions(results, queue):
        if submission.is_abandoned():
            write_submission(results, submission.model_copy(update={"state": "submitted"}))


def wait_for_earlier(results: Path, own: Submission) -> None:
    """Wait until no other submission of the same plan that began earlier is still under way."""
    deadline = time.monotonic() + _SUBMITTING_SECONDS
    while time.monotonic() < deadline:
        if not any(_under_way(other, own) for other in read_submissions(results)):
            return
        time.sleep(_POLL_SECONDS)


def _under_way(other: Submission, own: Submission) -> bool:
    if other.state != "submitting" or other.plan != own.plan or other.submission >= own.submission:
        return False
    if other.is_abandoned():
        return False
    age = (datetime.now(UTC) - datetime.fromisoformat(other.created)).total_seconds()
    return age < _SUBMITTING_SECONDS


def _with_strays(results: Path, submission: Submission, queue: Mapping[str, QueuedJob]) -> Submission:
    noted = {array.job_id for array in submission.arrays}
    strays: dict[str, int] = {}
    for job in queue.values():
        array, number = job.job_id.partition("_")[0], job.comment.removeprefix("array ")
        if job.name == submission.job_name and array not in noted and number.isdigit():
            strays[array] = int(number)
    folder = jobs_dir(results) / submission.submission
    found = [_stray(array, read_array(folder, number), submission, queue) for array, number in sorted(strays.items())]
    return submission.model_copy(update={"arrays": (*submission.arrays, *found)})


def _stray(array: str, runs: list[tuple[str, ...]], submission: Submission, queue: Mapping[str, QueuedJob]) -> JobArray:
    elements = []
    for index, held in enumerate(runs):
        job_id = array if array in queue else f"{array}_{index}"
        elements.append(Element(job_id=job_id, runs=held, log=f"jobs/{submission.submission}/{job_id}_0_log.out"))
    return JobArray(job_id=array, elements=tuple(elements))
