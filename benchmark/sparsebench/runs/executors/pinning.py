"""A place for each worker: processors, or a GPU, that no other worker on this machine has, whoever started it.

A worker holds a processor by a Unix socket in Linux's abstract namespace, whose name only one can have: two commands
that start at once can't choose the same, and when a worker dies, in whatever way, the system gives its names back.
There is nothing on disk. The command takes the sockets and hands them down to the worker, which need not know of them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from .protocol import AFFINITY

GPU = "CUDA_VISIBLE_DEVICES"
"""Environment variable that names the GPUs a process sees."""

PREFIX = "sparsebench worker"
"""How all names of places begin."""


@dataclass(frozen=True)
class Place:
    """Where a worker works: its environment, and what holds the place while the worker, or this process, has it."""

    environment: dict[str, str] = field(default_factory=dict)
    held: tuple[socket.socket, ...] = ()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What is to be passed to the worker."""
        return tuple(one.fileno() for one in self.held)

    def hand_over(self) -> None:
        """Leave the place to the worker alone, which has been started."""
        for one in self.held:
            one.close()


def find_place(jobs: int, threads: int, device: str, others: Collection[Place] = (), processes: int = 1) -> Place:
    """Return a place for one more worker.

    On ``cuda`` (without a number) it sees one GPU per process of a run: such that no worker has, else those that the
    fewest of ``others`` have. On a CPU with threads enough for all of a command's workers it has its own processors;
    where there are fewer, or others have them, the system shares them out.

    Parameters
    ----------
    jobs : int
        Workers of the command.
    threads : int
        Threads of each process.
    device : str
        The runs' device.
    others : collection of Place
        The places of the command's living workers.
    processes : int
        Processes that share a run.
    """
    if device == "cuda":
        return _gpus(others, processes)
    threads *= processes
    if device != "cpu" or not hasattr(os, "sched_getaffinity"):
        return Place()
    cpus = sorted(os.sched_getaffinity(0))
    if jobs * threads > len(cpus):
        return Place()
    found = _take([f"cpu {cpu}" for cpu in cpus], threads)
    if found is None:
        return Place()
    return Place({AFFINITY: ",".join(str(cpus[k]) for k, _ in found)}, tuple(held for _, held in found))


def _gpus(others: Collection[Place], count: int) -> Place:
    listed = os.environ.get(GPU)
    gpus = (
        [gpu.strip() for gpu in listed.split(",") if gpu.strip()] if listed else [str(k) for k in range(_count_gpus())]
    )
    if len(gpus) < count:
        return Place()
    if found := _take([f"gpu {gpu}" for gpu in gpus], count):
        return Place({GPU: ",".join(gpus[k] for k, _ in found)}, tuple(held for _, held in found))
    used = Counter(gpu for other in others for gpu in other.environment.get(GPU, "").split(","))
    return Place({GPU: ",".join(sorted(gpus, key=lambda gpu: used[gpu])[:count])})


def _take(names: Sequence[str], count: int) -> list[tuple[int, socket.socket]] | None:
    """Take the first ``count`` of the names that are free, each with its number; None if there are fewer."""
    found: list[tuple[int, socket.socket]] = []
    for k, name in enumerate(names):
        if len(found) == count:
            break
        if (held := _hold(name)) is not None:
            found.append((k, held))
    if len(found) == count:
        return found
    for _, held in found:
        held.close()
    return None


def _hold(name: str) -> socket.socket | None:
    """Take a name; None if a living process has it, or the system has no such names."""
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            held.bind(f"\0{PREFIX} {name}")
        except OSError:
            return None
        stack.pop_all()
        return held


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()
