"""What was submitted to a cluster, below ``jobs/`` of a results folder: one file per submission, written whole.

A submission is written before anything is submitted and again after each array, so that whoever submitted may die: the
files say which jobs hold which runs.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from ..common import files
from ..schema import RunError
from ..schema.base import SCHEMA_VERSION, Lenient
from .plans import read_documents

_LARGEST = 2**30  # bytes of a submission
State = Literal["submitting", "submitted", "cancelled"]


class Element(Lenient):
    """One element of an array: a job of its own, with the runs it was given.

    ``job_id`` is Slurm's, ``<array>_<index>``; ``log`` is what it prints, relative to the results folder.
    """

    job_id: str
    runs: tuple[str, ...]  # their records' keys
    log: str


class JobArray(Lenient):
    """An array of jobs, submitted together; ``job_id`` is Slurm's."""

    job_id: str
    elements: tuple[Element, ...]


class Submission(Lenient):
    """The jobs that one command submitted.

    ``submission`` is ``<UTC time>-<first digits of the plan's digest>``, the file's name; ``plan`` is the name of the
    plan's file; ``cluster`` holds the options of the jobs. In state ``submitting`` an array may be queued that isn't
    listed yet: its job name is ``sparsebench-<submission>``. ``host`` and ``pid`` are the command's, which may be gone.
    """

    schema_version: int = SCHEMA_VERSION
    submission: str
    plan: str
    created: str
    host: str | None = None
    pid: int | None = None
    state: State
    cluster: dict[str, Any] = Field(default_factory=dict)
    arrays: tuple[JobArray, ...] = ()

    @field_validator("created")
    @classmethod
    def _is_a_date(cls, text: str) -> str:
        if datetime.fromisoformat(text).tzinfo is None:
            raise ValueError("the time zone is missing")
        return text

    def is_abandoned(self) -> bool:
        """Return whether the command is known to have ended, on this machine, before it had submitted everything."""
        if self.state != "submitting" or self.pid is None or self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # it is another user's
            return False
        return False

    @property
    def job_name(self) -> str:
        """The name of its jobs in the queue."""
        return f"sparsebench-{self.submission}"

    @property
    def elements(self) -> list[Element]:
        """All elements, in the order of submission."""
        return [element for array in self.arrays for element in array.elements]


def jobs_dir(results: Path) -> Path:
    """Return the folder of a results folder's submissions."""
    return results / "jobs"


def write_submission(results: Path, submission: Submission) -> Path:
    """Write a submission, atomically, over its earlier state.

    Raises
    ------
    RunError
        If it can't be written.
    """
    path = jobs_dir(results) / f"{submission.submission}.json"
    try:
        files.write_text(path, submission.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise RunError(
            f"can't write the submission {str(path)!r}: {error.strerror or error}", "free space there"
        ) from error
    return path


def is_cancelled(results: Path, submission: Submission) -> bool:
    """Return whether another command has cancelled a submission, going by what is on disk."""
    try:
        text = files.read_regular(jobs_dir(results) / f"{submission.submission}.json", _LARGEST)
        return Submission.model_validate_json(text).state == "cancelled"
    except (OSError, ValidationError):
        return False


def read_submissions(results: Path) -> list[Submission]:
    """Return the submissions of a results folder, oldest first; a damaged file gives a warning and is passed over."""
    found = read_documents(jobs_dir(results), "submission", Submission.model_validate_json)
    return sorted(found, key=lambda submission: (submission.created, submission.submission))
