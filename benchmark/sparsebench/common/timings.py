"""Where the time goes: the seconds of each stage of a run, measured where they pass.

Stages don't nest, so their seconds add up. A clock reading costs well below a microsecond a batch. On a GPU work is
counted where the host waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

STARTED = time.perf_counter()
"""When this was imported: soon after the program started, if the package's first import is early."""

STAGES: dict[str, str] = {
    "load": "checkpoint and data set opened, the engine made ready",
    "cache": "features read from the cache and written to it",
    "decode": "waiting for decoded images, in feature extraction",
    "backbone": "inference of the frozen backbone",
    "probe": "fitting classifiers on features",
    "data": "waiting for images, in finetuning",
    "train": "forward and backward passes and steps, in finetuning",
}
"""The stages, in the order in which they come, and what their time is."""

_seconds: ContextVar[dict[str, float] | None] = ContextVar("seconds", default=None)


@contextmanager
def measuring() -> Iterator[dict[str, float]]:
    """Yield a dict that gets the seconds of each stage that passes in the block."""
    seconds: dict[str, float] = {}
    token = _seconds.set(seconds)
    try:
        yield seconds
    finally:
        _seconds.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count the time of a block, if somebody measures."""
    seconds = _seconds.get()
    if seconds is None:
        yield
        return
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started


def add(seconds: Mapping[str, float]) -> None:
    """Count the seconds of stages that passed in another process, if somebody measures."""
    found = _seconds.get()
    for name, passed in seconds.items() if found is not None else ():
        found[name] = found.get(name, 0.0) + passed


def waiting(name: str, items: Iterable[T]) -> Iterator[T]:
    """Yield items, and count the time until each is there; what is done with them isn't counted."""
    iterator, end = iter(items), object()
    while True:
        with stage(name):
            item = next(iterator, end)
        if item is end:
            return
        yield item  # type: ignore[misc]
