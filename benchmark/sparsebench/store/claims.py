"""Claims: which process does which run, so that many of them share a results folder without a server or a lock.

A claim is the file ``claims/<run id>.json``. It is made whole under another name and linked to its own, which of
several processes only one can do, on network file systems too. Its holder renews it by touching it. One whose lease
has run out, or whose process is known to be gone, is replaced by an atomic rename; who may do that is settled by a
claim on the dead claim, of the same kind.

Ages are judged by the file system's own clock, or by having watched a claim stay as it was, so that the clocks of the
nodes don't matter. Should a run be done twice all the same (its holder was suspended for longer than a lease), there
is still one record: the later one replaces the earlier.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from .. import files
from ..schema import RunError
from .claimfile import Claim, Standing, create, look, remove, renew, text
from .names import safe_name
from .owner import certainly_gone, this_process
from .servertime import server_time_ns

LEASE_SECONDS = 180.0
"""How long a claim stands unrenewed. It is renewed every third of that; NFS may show the others a date 60 s old."""

_TRIES = 5


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
        path, claim = self.folder / f"{safe_name(run_id)}.json", self._claim(run_id)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for _ in range(_TRIES):
                standing = look(path)
                if standing is None:
                    got = create(path, claim)
                elif self.is_dead(run_id, standing):
                    got = self._replace(path, standing, claim)
                else:
                    return None
                if got:
                    return self._keep(Held(path, claim))
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
                    remove(held.path, standing)

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

    def sweep(self) -> int:
        """Remove the claims that no longer hold; return how many there were."""
        count = 0
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError):
                standing = look(path)
                if standing is not None and self.is_dead(path.stem, standing):
                    count += self._replace(path, standing, None)
        return count

    def _claim(self, run_id: str) -> Claim:
        taken = datetime.now(UTC).isoformat(timespec="seconds")
        token = secrets.token_hex(16)
        return Claim(run_id=run_id, token=token, owner=self._owner, lease_seconds=self.lease_seconds, taken=taken)

    def _replace(self, path: Path, dead: Standing, successor: Claim | None) -> bool:
        """Put a claim in place of a dead one, or remove that; False if another process does, or it has been renewed.

        Of all that have found the same claim dead, the one that claims it may do so. The others must not move the file:
        it may be the successor's already.
        """
        right = path.with_name(f".{path.name[:40]}.{safe_name(dead.token or str(dead.renewed_ns))}.tmp")
        if not create(right, self._claim(right.name)):
            other = look(right)
            if other is not None and self.is_dead(right.name, other):
                remove(right, other)
            return False
        try:
            if look(path) != dead:
                return False
            if successor is None:
                path.unlink()
            else:
                files.write_text(path, text(successor))
            return True
        finally:
            with contextlib.suppress(OSError):
                right.unlink()

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
                        held.lost = not renew(held.path, held.claim)


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
