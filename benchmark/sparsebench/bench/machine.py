"""The machine that numbers were measured on, and the most that it computes."""

from __future__ import annotations

import os

import torch

from ..runs.environment import environment

_SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices of the yardstick


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(threads: int, device: str) -> dict[str, str]:
    """Return the machine's columns of a row: processor (or GPU), cores, threads and versions."""
    found = environment()
    on_gpu = torch.device(device).type == "cuda"
    return {
        "device": device,
        "processor": torch.cuda.get_device_name(device) if on_gpu else found["processor"],
        "cores": str(cores()),
        "threads": str(threads),
        "torch": found["torch"],
        "sparsebench": found["sparsebench"],
    }


class Product:
    """A large fp32 matrix product on a device: the yardstick of what it computes at most. Calling it computes it."""

    def __init__(self, device: str) -> None:
        side = _SIDE.get(torch.device(device).type, _SIDE["cuda"])
        self._a, self._b, self._out = (torch.ones(side, side, device=device) for _ in range(3))
        self.flops = 2.0 * side**3

    def __call__(self) -> None:
        """Compute it."""
        torch.mm(self._a, self._b, out=self._out)
