"""Times of several works measured in turns, so that what else the machine does strikes all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return those of some values; of one value all three are it."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high)


_SHORT = 0.25
"""Seconds up to which a work is run once more, untimed, right before it is timed."""


def in_turns(works: Mapping[str, Work], turns: int, device: str = "cpu", *, warm: int = 1) -> dict[str, list[float]]:
    """Return the seconds of each work in each turn.

    What ran before matters to a short work: its data lie in no cache, and the other's threads may still be waiting for
    more to do. So each turn begins with another work, and a short one runs once untimed before it is timed.

    Parameters
    ----------
    works : mapping of str to callable
        What is timed, once a turn each.
    turns : int
        Turns that count.
    device : str
        What they compute on; on CUDA times are the device's own, between two events.
    warm : int
        Turns before those, in which things are set up.
    """
    names = list(works)
    times: dict[str, list[float]] = {name: [] for name in names}
    last = dict.fromkeys(names, float("inf"))
    for turn in range(-warm, turns):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            if last[name] < _SHORT:
                works[name]()
            last[name] = seconds_of(works[name], device)
            if turn >= 0:
                times[name].append(last[name])
    return times


def seconds_of(work: Work, device: str = "cpu") -> float:
    """Return how long something takes on a device, until it is done there."""
    if torch.device(device).type == "cuda":
        with torch.cuda.device(torch.device(device)):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            start.record()
            work()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / 1e3
    wait = torch.mps.synchronize if torch.device(device).type == "mps" else lambda: None
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


def ratios(base: Sequence[float], times: Sequence[float]) -> Spread:
    """Return how many times faster something was than a yardstick: the spread of the ratios within a turn."""
    return Spread.of([one / other for one, other in zip(base, times, strict=True)])
