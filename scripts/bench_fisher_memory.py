"""Measure the peak memory of one second-order pruning of ``mini``, each method in a process of its own.

The yardstick is the same network's own backward pass; what is above it is the inverse Fisher, which is also what
``memory_limit`` bounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

from common import run_script

BATCH, COUNT = 16, 8


def peak(method: str, settings: dict[str, float], connection: Connection) -> None:
    """Prune once; send the bytes that the estimate should take and the process's peak in bytes."""
    import torch

    from sparsebench.models import backbones
    from sparsebench.models.masks import prunable
    from sparsebench.pruning.methods import get_method
    from sparsebench.pruning.obs import OBS
    from sparsebench.pruning.state import TrainState

    torch.set_num_threads(1)
    model = backbones.build(backbones.find("mini")[0], 200)
    weights = prunable(model, ("conv1", "fc"))

    def sample(count: int, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(count):
            yield torch.randn(size, 3, 32, 32), torch.randint(200, (size,))

    state = TrainState(model, torch.optim.SGD(model.parameters(), 0.1), weights, 100, sample)
    taken = 0
    if method == "none":
        for images, labels in sample(COUNT, BATCH):
            torch.autograd.grad(state.loss(images, labels), list(weights.values()))
    else:
        kind = get_method(method)
        assert issubclass(kind, OBS)
        chosen = kind(0.5, None, None, (), **settings)
        taken = chosen.memory([w.numel() for w in weights.values()])
        chosen.prune(state, 0.5)
    connection.send((taken, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


CASES: tuple[tuple[str, dict[str, float]], ...] = (
    ("none", {}),
    ("woodfisher", {"gradient_count": COUNT}),
    ("woodfisher", {"gradient_count": COUNT, "block": 256}),
    ("mfac", {}),
    ("mfac", {"block": 128}),
    ("mfac", {"gradient_count": 128}),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line a case: what the estimate should take, and how far the peak is above the yardstick's."""
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args(argv)
    context = multiprocessing.get_context("spawn")
    yardstick = 0
    for method, settings in CASES:
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=peak, args=(method, settings, send))
        process.start()
        taken, most = receive.recv()
        process.join()
        yardstick = yardstick or most
        name = " ".join([method, *(f"{key}={value:g}" for key, value in settings.items() if value != COUNT)])
        print(f"{name:28} estimate {taken / 2**20:6.0f} MiB, peak {most / 2**20:6.0f} MiB", end="")
        print(f", {(most - yardstick) / 2**20:+6.0f} MiB" if method != "none" else "")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
