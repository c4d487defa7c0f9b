"""Groups to work for workers and jobs: full groups by seed, longest first, in the elements of arrays.

Pure functions: seconds come from :mod:`sparsebench.runs.executors.estimate`, limits from the site.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ...schema import Group

Seconds = Callable[[Group], float]

_SHARES = 4
"""Elements to give each of the jobs that run at once, so that they end at about the same time."""
_USED = 0.5
"""The part of a job's time limit that is planned for: estimates are estimates."""


@dataclass(frozen=True)
class Limits:
    """What a site allows: elements per array, jobs at once (None: as many as there are), and seconds per job.

    ``least`` are the seconds of work that are worth a job of their own: starting one takes some of them.
    """

    array_size: int
    max_parallel: int | None
    seconds: float
    least: float = 300.0


@dataclass(frozen=True)
class Bundle:
    """The groups of one element of an array, and how long they should take."""

    groups: tuple[Group, ...]
    seconds: float


@dataclass(frozen=True)
class Array:
    """The elements of one array, at most ``parallel`` of them at a time.

    ``after`` is the number of the array that must have ended before (None: none), so that arrays together keep the
    limit.
    """

    bundles: tuple[Bundle, ...]
    parallel: int
    after: int | None = None


def split(group: Group) -> list[Group]:
    """Return a group's parts that share no work: the seeds of full finetuning; a linear group is one part."""
    if group.mode != "full":
        return [group]
    return [group.model_copy(update={"runs": (run,)}) for run in group.runs]


def arranged(groups: Iterable[Group], seconds: Seconds) -> list[Group]:
    """Return the parts of all groups, those that take longest first; equal ones keep their order."""
    parts = [part for group in groups for part in split(group)]
    return sorted(parts, key=seconds, reverse=True)


def bundles(groups: Iterable[Group], seconds: Seconds, limits: Limits) -> list[Bundle]:
    """Pack groups into jobs, longest first.

    Short parts share a job, as long as that leaves each of the jobs at once several to do and no job more work than
    about half its time limit.
    """
    parts = arranged(groups, seconds)
    times = [seconds(part) for part in parts]
    at_once = limits.max_parallel or limits.array_size
    longest = min(max(limits.least, sum(times) / (_SHARES * at_once)), _USED * limits.seconds)
    full: list[tuple[list[Group], float]] = []
    open_: list[tuple[list[Group], float]] = []
    least = min(times, default=0.0)
    for part, time in zip(parts, times, strict=True):
        place = next((k for k, (_, used) in enumerate(open_) if used + time <= longest), None)
        held, used = ([], 0.0) if place is None else open_.pop(place)
        filled = ([*held, part], used + time)
        (full if filled[1] + least > longest else open_).append(filled)
    made = [Bundle(tuple(held), used) for held, used in [*full, *open_]]
    return sorted(made, key=lambda bundle: bundle.seconds, reverse=True)


def arrays(made: Sequence[Bundle], limits: Limits) -> list[Array]:
    """Cut bundles into arrays, in their order; together they keep the limit of jobs at once.

    The arrays share the limit. Where there are more arrays than jobs at once, the rest wait for earlier ones to end.
    """
    cut = [tuple(made[k : k + limits.array_size]) for k in range(0, len(made), limits.array_size)]
    if limits.max_parallel is None:
        return [Array(part, len(part)) for part in cut]
    lanes = min(len(cut), limits.max_parallel)
    return [
        Array(
            part,
            parallel=limits.max_parallel // lanes + (k % lanes < limits.max_parallel % lanes),
            after=k - lanes if k >= lanes else None,
        )
        for k, part in enumerate(cut)
    ]


def duration(times: Iterable[float], at_once: int) -> float:
    """Return the seconds until all is done, if each job starts as soon as one of ``at_once`` places is free."""
    places = [0.0] * at_once
    for time in times:
        heapq.heapreplace(places, places[0] + time)
    return max(places)
