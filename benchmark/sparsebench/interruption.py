"""A request to stop, from a signal or another thread, and how a run answers it: at its next step, its state saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_reasons: list[str] = []


class Stopped(BaseException):
    """A run that was asked to stop has stopped; it is not a failure and leaves no record."""


def request_stop(reason: str) -> None:
    """Ask the run in progress to stop as soon as it can go on later from there."""
    _reasons.append(reason)


def stop_requested() -> bool:
    """Return whether a stop was asked for."""
    return bool(_reasons)


def clear() -> None:
    """Forget the request."""
    _reasons.clear()


def check() -> None:
    """Raise :class:`Stopped` if a stop was asked for."""
    if _reasons:
        raise Stopped(_reasons[0])


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Let a first Ctrl-C in the block be a request to stop, which becomes the interrupt once it is answered.

    A second Ctrl-C interrupts at once. Outside of the main thread, or where a handler is installed already, nothing
    changes.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    asked = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.default_int_handler(number, frame)
        asked = True
        request_stop("interrupted")

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    except Stopped as stopped:
        if asked:
            raise KeyboardInterrupt from stopped
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if asked:
            clear()
    if asked:  # the block was done before it could answer
        raise KeyboardInterrupt
