"""Claims: which process does which run, so that many of them share a results folder without a server or a lock.

A claim is the file ``claims/<key>.json``, created exclusively, which of several processes only one can do, on network
file systems too. Its holder touches it as long as it lives. One that wasn't touched for a lease, by the file system's
clock, is removed by whoever wants its key, and so is one of a process of this machine that is gone.

Should a run be done twice all the same (its holder was suspended for longer than a lease), only time is lost: there is
still one record, as the later one replaces the earlier.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType

from pydantic import AwareDatetime, ValidationError

from ..common.filenames import safe_name
from ..common.files import read_regular
from ..schema import Lenient, RunError
from .servertime import server_time_ns

LEASE_SECONDS = 180.0
"""How long a claim holds untouched. It is touched every third of that; NFS may show the others a date 60 s old."""

_TRIES = 3
_LARGEST = 2**16  # bytes of a claim


class Claim(Lenient):
    """Who has claimed what; when it was last touched is the file's date.

    ``machine`` identifies one boot of one system and its process numbers (containers may share a host name), and
    ``process_started`` distinguishes a process from a later one of the same number. They are None where the system
    doesn't say.
    ``job`` is the process's Slurm job as the queue calls it, ``<array>_<index>`` for an element of an array.
    """

    schema_version: int = 1
    key: str
    token: str
    taken: AwareDatetime  # by the holder's clock, which dates its records too
    host: str
    pid: int
    machine: str | None = None
    process_started: str | None = None
    job: str | None = None


@dataclass(frozen=True)
class Held:
    """A claim of this process: its key, its file and what that holds."""

    key: str
    path: Path
    content: bytes


@dataclass(frozen=True)
class Found:
    """A claim on disk: its age in seconds since it was touched, and whether it no longer holds."""

    claim: Claim
    age: float
    dead: bool


class Claims:
    """The claims of a results folder, as one process sees them; use as a context, which releases what it holds.

    Parameters
    ----------
    results : Path
        The results folder.
    lease_seconds : float
        How long a claim holds untouched.
    """

    def __init__(self, results: Path, lease_seconds: float = LEASE_SECONDS) -> None:
        self.folder, self.lease_seconds = results / "claims", lease_seconds
        self._pid = os.getpid()
        self._held: dict[str, Held] = {}
        self._guard, self._closed = threading.Lock(), threading.Event()
        self._toucher: threading.Thread | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        for held in list(self._held.values()):
            self.release(held)

    def take(self, key: str) -> Held | None:
        """Claim a key; None if a process that may live holds it.

        Raises
        ------
        RunError
            If claims can't be read or written.
        """
        held = Held(key, self.folder / f"{safe_name(key)}.json", _this_process(key).model_dump_json(indent=1).encode())
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for _ in range(_TRIES):
                if _create(held):
                    return self._keep(held)
                if not self._remove_dead(held.path):
                    return None
        except OSError as error:
            raise RunError(
                f"can't claim the run {key} in {str(self.folder)!r}: {error.strerror or error}",
                "free space on, or repair access to, the results folder, then run the same command again",
            ) from error
        return None

    def release(self, held: Held) -> None:
        """Give a claim up, unless another process has taken it over; twice is harmless."""
        if os.getpid() != self._pid:  # a fork holds nothing
            return
        with self._guard:
            self._held.pop(held.key, None)
            with contextlib.suppress(OSError):  # it then runs out
                if read_regular(held.path, _LARGEST) == held.content:
                    held.path.unlink()

    def sweep(self) -> int:
        """Remove the claims that no longer hold; return how many there were."""
        count = 0
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError):
                count += self._remove_dead(path)
        return count

    def found(self) -> Iterator[Found]:
        """Yield the claims on disk, sorted by key, for display; what can't be read as one is left out."""
        now = server_time_ns(self.folder)
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(OSError):
                claim, touched = _read(path), path.lstat().st_mtime_ns
                if claim is not None:
                    yield Found(claim, max(0.0, (now - touched) / 1e9), self._is_dead(claim, touched, now))

    def _is_dead(self, claim: Claim | None, touched: int, now: int) -> bool:
        return now - touched > self.lease_seconds * 1e9 or (claim is not None and _is_gone(claim))

    def _remove_dead(self, path: Path) -> bool:
        """Remove a claim that no longer holds; return whether there is none now that this process has seen.

        One process removes at a time, and looks again once it is the one. Otherwise it could remove the claim of a
        process that has taken the dead one's place between its look and its removal.
        """
        if not self._found_dead(path):
            return not path.exists()
        guard = path.with_name(f".{path.name}.removing.tmp")
        try:
            guard.open("xb").close()
        except FileExistsError:  # another process is at it, or was killed there
            with contextlib.suppress(OSError):
                if server_time_ns(self.folder) - guard.lstat().st_mtime_ns > self.lease_seconds * 1e9:
                    guard.unlink()
            return False
        try:
            if self._found_dead(path):
                path.unlink(missing_ok=True)
            return not path.exists()
        finally:
            guard.unlink(missing_ok=True)

    def _found_dead(self, path: Path) -> bool:
        """Return whether there is a claim that no longer holds."""
        try:
            claim, touched = _read(path), path.lstat().st_mtime_ns
        except FileNotFoundError:
            return False
        return self._is_dead(claim, touched, server_time_ns(self.folder))

    def _keep(self, held: Held) -> Held:
        with self._guard:
            self._held[held.key] = held
        if self._toucher is None:
            self._toucher = threading.Thread(target=self._touch_all, name="claims", daemon=True)
            self._toucher.start()
        return held

    def _touch_all(self) -> None:
        while not self._closed.wait(self.lease_seconds / 3):
            for held in list(self._held.values()):
                with contextlib.suppress(OSError), self._guard:  # a hiccup: there are two more chances in a lease
                    if held.key in self._held and (_create(held) or read_regular(held.path) == held.content):
                        os.utime(held.path)


def read_claims(results: Path) -> list[Found]:
    """Return the claims in a results folder, for display."""
    return list(Claims(results).found())


def _create(held: Held) -> bool:
    """Make a claim's file; False if there is one."""
    try:
        with held.path.open("xb") as handle:
            handle.write(held.content)
    except FileExistsError:
        return False
    except OSError:
        with contextlib.suppress(OSError):
            if held.path.stat().st_size < len(held.content):  # on a full disk an empty one may stay
                held.path.unlink()
        raise
    return True


def _read(path: Path) -> Claim | None:
    """Return the claim in a file; None where it is none, or not yet.

    Raises
    ------
    FileNotFoundError
        If there is no such file, nor a link in its place.
    """
    try:
        return Claim.model_validate_json(read_regular(path, _LARGEST))
    except FileNotFoundError:
        path.lstat()
    except (OSError, ValidationError):
        pass
    return None


def _this_process(key: str) -> Claim:
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    state = _process(os.getpid())
    return Claim(
        key=key,
        token=secrets.token_hex(16),
        taken=datetime.now(UTC).replace(microsecond=0),
        host=socket.gethostname(),
        pid=os.getpid(),
        machine=_machine(),
        process_started=state[1] if state else None,
        job=f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID"),
    )


def _is_gone(claim: Claim) -> bool:
    """Return whether a claim's process has ended, which is known of processes of this machine alone."""
    if claim.machine is None or (claim.host, claim.machine) != (socket.gethostname(), _machine()):
        return False
    state = _process(claim.pid)
    return state is None or state[0] in "ZX" or claim.process_started not in (None, state[1])


@cache
def _machine() -> str | None:
    """Return what no other system, and no other boot of this one, has; None where ``/proc`` doesn't say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - the link's text, which names no file
    except OSError:
        return None
    return f"{boot} {space}"


def _process(pid: int) -> tuple[str, str] | None:
    """Return a process's state (one letter) and start time; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], fields[19]
