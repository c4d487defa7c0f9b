"""Failures of what a run depends on (disk, network, node), as against its own, and how the former are tried again."""

from __future__ import annotations

import errno
import time

from . import interruption

RETRIES = 2
"""How often a run is tried again, by default, after a failure of the disk or the network below it."""

RETRY_SECONDS = 5.0
"""The pause before the first of these tries; each later one is twice as long, up to :data:`LONGEST_PAUSE`."""

LONGEST_PAUSE = 120.0

CHECKPOINT_SECONDS = 300.0
"""How often, by default, a training writes down how far it is, so that another try goes on from there."""

_CODES = {
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "ETIMEDOUT", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH", "ENOLINK",
        "EREMOTEIO", "ECONNRESET", "ECONNABORTED", "ECONNREFUSED", "ENOTCONN", "ESHUTDOWN", "EAGAIN",
    )
    if hasattr(errno, name)
}  # fmt: skip
_POLL = 0.2


def is_infrastructure(error: BaseException | None) -> bool:
    """Return whether an error comes from a file system or network that may work again in a while.

    The error itself, or one that it was raised from, is then an :class:`OSError` with one of the codes of a lost
    connection, a stale handle or a broken read. A missing file, a full disk or a refused access are none.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in _CODES:
            return True
        seen.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def pause_before(attempt: int, first: float = RETRY_SECONDS) -> float:
    """Return the seconds to wait before try ``attempt`` (1 is the first one after a failure)."""
    return min(first * 2.0 ** (attempt - 1), LONGEST_PAUSE)


def wait(seconds: float) -> None:
    """Wait, but raise :class:`~sparsebench.common.interruption.Stopped` as soon as a stop is asked for."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        interruption.check()
        time.sleep(min(_POLL, left))
