"""Which images are computed at once: the steps of an epoch, their parts, and each process's share of a part.

A step's images are the protocol's batch, cut into parts where there is a microbatch. Each part is divided among the
processes of the run in the order of the images, so that together they compute the batch that one process would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Crew:
    """One of the processes that share a step.

    Parameters
    ----------
    processes : int
        Shares that a part is divided into: the processes that the run began with.
    rank : int
        Whose share is meant, from 0.
    alive : int
        Processes that are left; the shares of the others aren't computed.
    least : int
        Images of a share at least: 2 where batch norm sees the share alone.
    """

    processes: int = 1
    rank: int = 0
    alive: int = 1
    least: int = 1


@dataclass(frozen=True)
class Part:
    """Images that a process computes at once: how many, and their share of the step's images.

    A share of 0 is a process's that has none of a small part: it computes copies of images that count nothing, to take
    part in what the processes exchange.
    """

    images: int
    share: float


@dataclass(frozen=True)
class Step:
    """A step of an epoch: the positions, in the epoch's order, that a process computes, and their parts.

    ``images`` is how many images all processes compute.
    """

    positions: npt.NDArray[np.int64]
    parts: tuple[Part, ...]
    images: int


def batch_sizes(count: int, batch_size: int) -> list[int]:
    """Return the sizes of the batches of ``count`` images; a lone last image is joined to the batch before it.

    Batch normalisation in train mode has no variance over one image's 1x1 map.
    """
    sizes = [min(batch_size, count - start) for start in range(0, count, batch_size)]
    if len(sizes) > 1 and sizes[-1] == 1 < sizes[-2]:
        sizes[-2:] = [sizes[-2] + 1]
    return sizes


def divided(count: int, processes: int, least: int = 1) -> list[int]:
    """Return how many of ``count`` images each process has: as equally as can be, none or at least ``least``."""
    sharing = min(processes, max(1, count // least))
    base, over = divmod(count, sharing)
    return [base + (rank < over) if rank < sharing else 0 for rank in range(processes)]


def steps_of(count: int, batch_size: int, microbatch: int | None, crew: Crew) -> list[Step]:
    """Return the steps of an epoch of ``count`` images, as one process computes them."""
    steps, start = [], 0
    for size in batch_sizes(count, batch_size):
        steps.append(_step(start, size, microbatch or size, crew))
        start += size
    return steps


def _step(start: int, size: int, microbatch: int, crew: Crew) -> Step:
    parts = batch_sizes(size, microbatch)
    shares = [divided(part, crew.processes, crew.least) for part in parts]
    images = sum(sum(share[: crew.alive]) for share in shares)
    positions, own = [], []
    for part, share in zip(parts, shares, strict=True):
        mine = share[crew.rank]
        first = start + sum(share[: crew.rank]) if mine else start
        computed = mine or min(crew.least, part)
        positions.append(np.arange(first, first + computed))
        own.append(Part(computed, mine / images))
        start += part
    return Step(np.concatenate(positions), tuple(own), images)
