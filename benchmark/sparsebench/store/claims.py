"""Claims: which process does which run, so that many of them share a results folder without a server or a lock.

A claim is the file ``claims/<run id>.json``. It is made whole under another name and linked to its own, which of
several processes only one can do, on network file systems too. Its holder renews it by touching it; one whose lease
has run out, or whose process is known to be gone, is moved aside (again only one can) and made anew.

Ages are judged by the file system's own clock, or by having watched a claim stay as it was, so that the clocks of the
nodes don't matter. Should a run be done twice all the same (its holder was suspended for longer than a lease), there
is still one record: the later one replaces the earlier.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from ..schema import Lenient, RunError
from .names import safe_name
from .owner import Owner, certainly_gone, this_process
from .servertime import server_time_ns

LEASE_SECONDS = 180.0
"""How long a claim stands unrenewed. It is renewed every third of that; NFS may show the others a date 60 s old."""

_TRIES = 5
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Claim(Lenient):
    """What a claim's file says. When it was last renewed is the file's date."""

    schema_version: int = 1
    run_id: str
    token: str
    owner: Owner
    lease_seconds: float
    taken: str  # ISO 8601, by the owner's clock


@dataclass(frozen=True)
class Standing:
    """A claim as it was found: ``claim`` is None where the file isn't one; ``renewed_ns`` is its date."""

    claim: Claim | None
    renewed_ns: int

    @property
    def token(self) -> str | None:
        """What tells it from a later claim of the same run."""
        return self.claim.token if self.claim else None


class Held:
    """A claim of this process; ``lost`` when another has taken it over. Releasing it twice is harmless."""

    def __init__(self, path: Path, claim: Claim) -> None:
        self.path, self.claim = path, claim
        self.lost = False


class Claims:
    """The claims of a results folder, as one process sees them; use as a context, which releases what it holds.

    Parameters
    ----------
    results : Path
        The results folder.
    lease_seconds : float
        How long this process's claims stand when it no longer renews them.
    """

    def __init__(self, results: Path, lease_seconds: float = LEASE_SECONDS) -> None:
        self.folder = results / "claims"
        self.lease_seconds = lease_seconds
        self._owner = this_process()
        self._held: dict[str, Held] = {}
        self._seen: dict[str, tuple[str | None, int, float]] = {}  # run id to token, date, and when first seen so
        self._offset: int | None = None  # nanoseconds from this machine's monotonic clock to the file system's
        self._guard = threading.Lock()
        self._closed = threading.Event()
        self._renewer: threading.Thread | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        for held in list(self._held.values()):
            self.release(held)
        if self._renewer is not None:
            self._renewer.join()

    def take(self, run_id: str) -> Held | None:
        """Claim a run; None if a process that may live holds it.

        Raises
        ------
        RunError
            If claims can't be read or written.
        """
        path = self.folder / f"{safe_name(run_id)}.json"
        taken = datetime.now(UTC).isoformat(timespec="seconds")
        claim = Claim(run_id=run_id, token=secrets.token_hex(16), owner=self._owner,
                      lease_seconds=self.lease_seconds, taken=taken)  # fmt: skip
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for _ in range(_TRIES):
                standing = look(path)
                if standing is None:
                    if _create(path, claim):
                        return self._keep(Held(path, claim))
                elif not self.is_dead(run_id, standing):
                    return None
                else:
                    _remove(path, standing)
        except OSError as error:
            raise RunError(
                f"can't claim the run {run_id} in {str(self.folder)!r}: {error.strerror or error}",
                "free space on, or repair access to, the results folder, then run the same command again",
            ) from error
        return None

    def release(self, held: Held) -> None:
        """Give a claim up, unless another process has taken it over."""
        with self._guard:
            self._held.pop(held.claim.run_id, None)
        if os.getpid() == self._owner.pid:
            with contextlib.suppress(OSError):  # it then runs out
                standing = look(held.path)
                if standing is not None and standing.token == held.claim.token:
                    _remove(held.path, standing)

    def is_dead(self, run_id: str, standing: Standing) -> bool:
        """Return whether a claim no longer holds: its owner is gone, or hasn't renewed it for a lease."""
        claim, now = standing.claim, time.monotonic()
        if claim is not None and certainly_gone(claim.owner, self._owner):
            return True
        lease = claim.lease_seconds if claim else self.lease_seconds
        if self._offset is None:
            self._offset = server_time_ns(self.folder) - time.monotonic_ns()
        if time.monotonic_ns() + self._offset - standing.renewed_ns > lease * 1e9:
            return True
        token, renewed_ns, since = self._seen.get(run_id, (None, -1, now))
        if (token, renewed_ns) != (standing.token, standing.renewed_ns):
            self._seen[run_id] = (standing.token, standing.renewed_ns, now)
            return False
        return now - since > lease

    def _keep(self, held: Held) -> Held:
        with self._guard:
            self._held[held.claim.run_id] = held
        if self._renewer is None:
            self._renewer = threading.Thread(target=self._renew_all, name="claims", daemon=True)
            self._renewer.start()
        return held

    def _renew_all(self) -> None:
        while not self._closed.wait(self.lease_seconds / 3):
            for held in list(self._held.values()):
                with contextlib.suppress(OSError), self._guard:  # a hiccup: there are two more chances in a lease
                    if held.claim.run_id in self._held:
                        _renew(held)


def read_claims(results: Path) -> list[tuple[Claim, float, bool]]:
    """Return the claims in a results folder, for display: each with its age in seconds and whether it is dead.

    The age counts from the last renewal. What can't be read as a claim is left out.
    """
    claims = Claims(results)
    now = server_time_ns(claims.folder)
    found = []
    for path in sorted(claims.folder.glob("*.json")):
        with contextlib.suppress(OSError):
            standing = look(path)
            if standing is not None and standing.claim is not None:
                dead = claims.is_dead(standing.claim.run_id, standing)
                found.append((standing.claim, max(0.0, (now - standing.renewed_ns) / 1e9), dead))
    return found


def sweep_claims(results: Path) -> int:
    """Remove the claims that no longer hold; return how many there were."""
    claims, count = Claims(results), 0
    for path in claims.folder.glob("*.json"):
        with contextlib.suppress(OSError):
            standing = look(path)
            if standing is not None and claims.is_dead(path.stem, standing):
                count += _remove(path, standing)
    return count


def look(path: Path) -> Standing | None:
    """Return the claim at ``path`` and its date; None if there is none.

    Raises
    ------
    OSError
        If that can't be found out.
    """
    claim = None
    try:
        with contextlib.suppress(ValidationError, PermissionError):
            claim = Claim.model_validate_json(path.read_bytes())
        return Standing(claim, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return None


def _create(path: Path, claim: Claim) -> bool:
    """Make a claim's file, whole and exclusively; False if there is one already."""
    data = (claim.model_dump_json(indent=1) + "\n").encode()
    temporary = _beside(path)
    try:
        temporary.write_bytes(data)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with contextlib.suppress(FileExistsError), path.open("xb") as handle:  # exclusive as well, if not whole
                handle.write(data)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    standing = look(path)  # not what the call said: an answer may be lost on the way, and the call repeated
    return standing is not None and standing.token == claim.token


def _renew(held: Held) -> None:
    standing = look(held.path)
    if standing is None:
        held.lost = not _create(held.path, held.claim)
    elif standing.token == held.claim.token:
        os.utime(held.path)
    else:
        held.lost = True


def _remove(path: Path, expected: Standing) -> bool:
    """Remove a claim if it is still the one that was seen; of several processes only one does."""
    aside = _beside(path)
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
    moved = look(aside)
    if moved is None:
        return False
    same = moved == expected
    if not same:  # it has been renewed or taken over since: put it back
        with contextlib.suppress(OSError):
            path.hardlink_to(aside)
    with contextlib.suppress(OSError):
        aside.unlink()
    return same


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")
