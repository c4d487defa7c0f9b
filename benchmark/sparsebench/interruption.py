"""A request to stop, from a signal or another thread, and how a run answers it: at its next step, its state saved."""

from __future__ import annotations

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
