"""Progress reports: a callable ``progress(done, total)``, called at most a few times per second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T", bound=Sized)

Progress = Callable[[float, float], None]

INTERVAL = 0.25
"""Least number of seconds between two reports; the last one is always made."""

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Have ``listener`` called with each line that :func:`notify` is given in the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def notify(line: str) -> None:
    """Give whoever listens a line on the long work that is being done."""
    listener = _listener.get()
    if listener is not None:
        listener(line)


def part(progress: Progress, start: float, end: float) -> Progress:
    """Return a progress for a part of the work, from fraction ``start`` to ``end`` of it."""
    return lambda done, total: progress(start + (end - start) * done / total, 1.0)


class Pace:
    """How fast work goes, by what was done since the first report: what was done before it took no time here."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def left(self, done: float, total: float) -> float | None:
        """Return the seconds to the end, given the work done by now; None before there is anything to judge by."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        began, before = self._first
        return (now - began) * (total - done) / (done - before) if done > before else None


class Throttle:
    """Pass progress on to a callable, but not more often than every :data:`INTERVAL` seconds.

    Parameters
    ----------
    progress : callable or None
        Called with the work done and the total; ``None`` makes every report a no-op.
    total : float
        The work there is, in any unit.
    """

    def __init__(self, progress: Progress | None, total: float) -> None:
        self._progress = progress
        self._total = total
        self._done = 0.0
        self._next = 0.0

    def advance(self, amount: float) -> None:
        """Add ``amount`` to the work done."""
        self._done += amount
        if self._progress is None:
            return
        now = time.monotonic()
        if now >= self._next or self._done >= self._total:
            self._next = now + INTERVAL
            self._progress(self._done, self._total)

    def over(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield batches, and count the length of each as done when the next one is asked for."""
        for batch in batches:
            yield batch
            self.advance(len(batch))
