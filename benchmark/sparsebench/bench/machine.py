"""The machine that numbers were measured on, and the most that it computes."""

from __future__ import annotations

import os

import torch

from ..engines.choice import torch_threads
from ..environment import environment
from .timing import in_turns

_SIDE = {"cpu": 1536, "cuda": 8192}
_TURNS = 7


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


def peak_flops(threads: int, device: str) -> float:
    """Return the floating-point operations a second of a large fp32 matrix product, the best of several."""
    kind = torch.device(device).type
    side = _SIDE.get(kind, 4096)
    with torch_threads(threads):
        a, b = (torch.randn(side, side, device=device) for _ in range(2))
        out = torch.empty_like(a)
        times = in_turns({"product": lambda: torch.mm(a, b, out=out)}, _TURNS, device)["product"]
    return 2.0 * side**3 / min(times)
