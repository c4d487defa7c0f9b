"""Who holds a claim: a process on a machine, perhaps in a Slurm job; and whether it is certainly gone."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

from ..schema import Lenient


class Owner(Lenient):
    """A process, described well enough that another one on any node can tell whether it may still live.

    ``machine`` stands for one boot of one system and its process numbers (two containers that share a host name have
    different ones); ``process_started`` tells a process from a later one of the same number. Both are None where the
    system doesn't tell.
    """

    host: str
    machine: str | None = None
    pid: int
    process_started: str | None = None
    slurm_job: str | None = None
    slurm_array_job: str | None = None
    slurm_array_task: str | None = None
    slurm_restarts: int = 0


def this_process() -> Owner:
    """Return the owner that this process is."""
    restarts = os.environ.get("SLURM_RESTART_COUNT", "")
    state = _process(os.getpid())
    return Owner(
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        process_started=state[1] if state else None,
        slurm_job=os.environ.get("SLURM_JOB_ID"),
        slurm_array_job=os.environ.get("SLURM_ARRAY_JOB_ID"),
        slurm_array_task=os.environ.get("SLURM_ARRAY_TASK_ID"),
        slurm_restarts=int(restarts) if restarts.isdecimal() else 0,
    )


def certainly_gone(owner: Owner, me: Owner) -> bool:
    """Return whether ``owner`` no longer runs, as far as ``me`` can know without waiting.

    That is so for a dead process of the same machine, and for an earlier start of the Slurm job that ``me`` is in. Of
    a process elsewhere nothing is known but its lease.
    """
    if owner.slurm_job is not None and owner.slurm_job == me.slurm_job and owner.slurm_restarts < me.slurm_restarts:
        return True
    if owner.machine is None or (owner.host, owner.machine) != (me.host, me.machine):
        return False
    state = _process(owner.pid)
    return state is None or state[0] in "ZX" or owner.process_started not in (None, state[1])


@cache
def _machine() -> str | None:
    """Return what no other system, and no other boot of this one, has; None where ``/proc`` doesn't say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - the link's text, which names no file
    except OSError:
        return None
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:16]


def _process(pid: int) -> tuple[str, str] | None:
    """Return a process's state (one letter) and start time; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], fields[19]
