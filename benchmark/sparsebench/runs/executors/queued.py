"""Which runs are in the queue: what a results folder's submissions say, and what Slurm says.

The submissions are always read before the queue is asked: a job that is noted after that isn't taken for one that has
left the queue.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ...common.files import read_regular
from ...store.jobs import Element, JobArray, Submission, jobs_dir, read_submissions, write_submission
from .squeue import QueuedJob, queued_jobs

_SUBMITTING_SECONDS = 60.0
"""How long a submission that is under way is waited for; one that takes longer was probably killed."""
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Known:
    """The submissions of a results folder, and Slurm's queue a moment later.

    ``abandoned`` are the names of the submissions whose commands were killed before they had submitted everything.
    """

    submissions: list[Submission]
    queue: Mapping[str, QueuedJob]
    abandoned: frozenset[str]


def ask(results: Path) -> Known:
    """Return what is known of a results folder's jobs.

    Raises
    ------
    RunError
        If the queue can't be asked.
    """
    submissions = read_submissions(results)
    abandoned = frozenset(found.submission for found in submissions if found.is_abandoned())
    queue = queued_jobs()
    return Known(with_untracked(results, submissions, queue), queue, abandoned)


def with_untracked(
    results: Path, submissions: Iterable[Submission], queue: Mapping[str, QueuedJob]
) -> list[Submission]:
    """Return submissions, with the arrays that were queued but aren't noted: not yet, or their command was killed."""
    return [one if one.state == "submitted" else _with_strays(results, one, queue) for one in submissions]


def held(queue: Mapping[str, QueuedJob], submission: Submission, element: Element) -> QueuedJob | None:
    """Return an element's job if the queue holds it; one of another name has an id that was given out again."""
    job = queue.get(element.job_id)
    return job if job is not None and job.name == submission.job_name else None


def queued_runs(known: Known) -> dict[str, str]:
    """Return the runs that jobs in the queue hold, each with its job's id; cancelled submissions hold none."""
    return {
        run: element.job_id
        for submission in known.submissions
        if submission.state != "cancelled"
        for element in submission.elements
        if held(known.queue, submission, element) is not None
        for run in element.runs
    }


def settle(results: Path, known: Known) -> None:
    """Note the jobs of submissions whose commands were killed while they submitted.

    Raises
    ------
    RunError
        If it can't be written.
    """
    for submission in known.submissions:
        if submission.submission in known.abandoned:
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
    untracked: dict[str, int] = {}
    for job in queue.values():
        array, number = job.job_id.partition("_")[0], job.comment.removeprefix("array ")
        if job.name == submission.job_name and array not in noted and number.isdigit():
            untracked[array] = int(number)
    folder = jobs_dir(results) / submission.submission
    found = [
        _untracked(array, _read_array(folder, number), submission, queue) for array, number in sorted(untracked.items())
    ]
    return submission.model_copy(update={"arrays": (*submission.arrays, *found)})


def _untracked(
    array: str, runs: list[tuple[str, ...]], submission: Submission, queue: Mapping[str, QueuedJob]
) -> JobArray:
    elements = []
    for index, ids in enumerate(runs):
        job_id = array if array in queue else f"{array}_{index}"
        elements.append(Element(job_id=job_id, runs=ids, log=f"jobs/{submission.submission}/{job_id}_0_log.out"))
    return JobArray(job_id=array, elements=tuple(elements))


def _read_array(folder: Path, number: int) -> list[tuple[str, ...]]:
    """Return the ids of the runs of each element of an array, from what its jobs read; none if it can't be read."""
    try:
        document = json.loads(read_regular(folder / f"{number}.json"))
        return [
            tuple(run["record_key"] for group in element["groups"] for run in group["runs"])
            for element in document["elements"]
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
