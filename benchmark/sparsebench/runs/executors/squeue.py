"""What Slurm's queue says: one call of ``squeue``, whatever the number of jobs."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

from ...schema import RunError

_TIMEOUT = 60.0
_STATES = "PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING"


@dataclass(frozen=True)
class QueuedJob:
    """A job, or one element of an array, that the queue holds: ``job_id`` is ``<array>_<index>`` for an element."""

    job_id: str
    name: str
    state: str
    comment: str

    @property
    def waits(self) -> bool:
        """Whether it is yet to start, or to start again: no process of it lives."""
        return self.state == "PENDING"


def available() -> bool:
    """Return whether there is a queue to ask."""
    return shutil.which("squeue") is not None


def queued_jobs() -> dict[str, QueuedJob]:
    """Return this user's jobs that haven't ended, by their ids; each element of an array is an entry.

    Raises
    ------
    RunError
        If the queue can't be asked.
    """
    command = ["squeue", "--noheader", "--array", "--states", _STATES, "--user", str(os.getuid())]
    command += ["--format", "%i|%j|%T|%k"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"squeue can't be asked: {error}", "try again where Slurm's commands work") from error
    if done.returncode != 0:
        raise RunError(f"squeue: {(done.stderr.strip() or 'failed').splitlines()[-1]}", "try again later")
    found = {}
    for line in done.stdout.splitlines():
        parts = line.strip().split("|", 3)
        if len(parts) == 4:
            found[parts[0]] = QueuedJob(*parts)
    return found
