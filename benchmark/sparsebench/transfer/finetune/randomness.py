"""A run's own global random numbers: layers such as dropout draw from torch's global generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..probes.base import stream_seed


@contextmanager
def own_randomness(seed: int, device: torch.device, rank: int = 0) -> Iterator[None]:
    """Seed the global generators of the CPU and of ``device`` for the run, and restore them after it.

    Each of several processes has its own ``rank``, from 0, and so its own numbers.
    """
    value = stream_seed(seed, f"layers {rank}" if rank else "layers")
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(value)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(value)
        yield
