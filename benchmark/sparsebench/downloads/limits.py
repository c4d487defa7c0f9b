"""How long to wait for a server, and how often to ask it."""

from __future__ import annotations

from dataclasses import dataclass

from urllib3.util import Retry

SLOWEST = 1024
"""Bytes per second below which a server is given up: a hundred megabytes would take more than a day."""


@dataclass(frozen=True)
class Limits:
    """How long to wait, how often to try, and how much to take.

    Parameters
    ----------
    connect, stall : float
        Seconds to wait for a connection, and for an answer or the next bytes; ``stall`` is also the time in which
        :data:`SLOWEST` bytes per second must come.
    tries : int
        Tries per address, the first one included.
    backoff : float
        Half the seconds before the third try, and doubled before each further one; the second follows at once.
    longest_wait : float
        Most seconds between two tries; a server that asks for more is given up.
    redirects : int
        Most redirects of one request.
    total : float
        Most seconds per address, all tries together.
    largest : int
        Most bytes of a file whose size is not registered.
    """

    connect: float = 15.0
    stall: float = 60.0
    tries: int = 5
    backoff: float = 1.0
    longest_wait: float = 120.0
    redirects: int = 10
    total: float = 6 * 3600.0
    largest: int = 16 * 2**30

    def retries(self) -> Retry:
        """Return the tries that are left after the first one."""
        return Retry(self.tries - 1, backoff_factor=self.backoff, backoff_max=self.longest_wait)
