"""A request to stop, from a signal or another thread, and how a run answers it: at its next step, its state saved.

Ctrl-C, a closed terminal, ``kill`` and the limit of processor time are the same request. Outside of a training it is
answered at once, by an exception that gives back what is held; in a training (:func:`deferred`) as soon as the state is
on disk.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
"""The signals that ask a run to stop, those of them that this system has."""

_TYPED = {number for number in SIGNALS if number.name in ("SIGINT", "SIGQUIT")}
_SAME_SECONDS = 0.1  # a signal that is sent to a process and to its group arrives twice


class Stopped(BaseException):
    """A run that was asked to stop has stopped; it is not a failure and leaves no record."""


class Interrupted(KeyboardInterrupt):
    """A signal has ended the work; ``number`` is the signal's."""

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)
        super().__init__(self.number.name)


@dataclass
class _Process:
    """What this process was asked: handlers of signals can reach nothing smaller."""

    reasons: list[str] = field(default_factory=list)
    received: int | None = None  # the first signal
    since: float = 0.0
    raised: bool = False  # it has been answered, or should have been
    deferred: int = 0  # blocks of :func:`deferred` that the main thread is in


_process = _Process()


def request_stop(reason: str) -> None:
    """Ask the run in progress to stop as soon as it can go on later from there."""
    _process.reasons.append(reason)


def stop_requested() -> bool:
    """Return whether a stop was asked for."""
    return bool(_process.reasons)


def clear() -> None:
    """Forget the request."""
    _process.reasons.clear()
    _process.received, _process.raised = None, False


def check() -> None:
    """Raise if a stop was asked for.

    Raises
    ------
    Interrupted
        If a signal asked for it.
    Stopped
        If something else did.
    """
    if not _process.reasons:
        return
    if _process.received is None:
        raise Stopped(_process.reasons[0])
    _process.raised = True
    raise Interrupted(_process.received)


@contextmanager
def handled() -> Iterator[None]:
    """Have the signals of :data:`SIGNALS` raise :class:`Interrupted` in the block, in the main thread.

    Whoever sends one twice is not in a hurry (a shell and the kernel both announce a closed terminal): only a second
    one from the keyboard raises again. A signal that is ignored (``nohup``), or that has a handler of somebody else,
    stays so. Blocks may be nested.

    Raises
    ------
    Interrupted
        Also at the end of the outermost block, if a signal was deferred and not answered.
    """
    mine = []
    if threading.current_thread() is threading.main_thread():
        mine = [n for n in SIGNALS if signal.getsignal(n) in (signal.SIG_DFL, signal.default_int_handler)]
    before = {number: signal.signal(number, _on_signal) for number in mine}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        received, raised = _process.received, _process.raised
        if mine and received is not None:
            clear()
    if mine and received is not None and not raised:
        raise Interrupted(received)


@contextmanager
def deferred() -> Iterator[None]:
    """Let a first signal in the block be a request to stop, which the block answers with :func:`check`.

    What is done before it can answer goes on: who comes after it answers. A second signal from the keyboard doesn't
    wait. Outside of the main thread nothing changes.
    """
    with handled():
        here = int(threading.current_thread() is threading.main_thread())
        _process.deferred += here
        try:
            yield
        finally:
            _process.deferred -= here


def _on_signal(number: int, _: FrameType | None) -> None:
    now = time.monotonic()
    if _process.received is None:
        _process.received, _process.since = number, now
        request_stop(signal.Signals(number).name)
        if _process.deferred:
            return
    elif number not in _TYPED or now - _process.since < _SAME_SECONDS:
        return
    _process.since, _process.raised = now, True
    raise Interrupted(number)
