"""Measure a training step (forward, backward, SGD) of a pruned network in torch, dense, and in engine sparse, in turns.

Torch runs eagerly, channels_last, with kept pages; the sparse engine trains the kept weights alone, as full mode does.
Best of the turns; the ratio is of the bests, and the median of the turns' ratios. ``--memory`` prints the peak of a
process that runs one of the two alone; ``--layers`` where the time of the last network goes.
"""

from __future__ import annotations

import argparse
import copy
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_engine import KINDS, network
from common import run_script
from sparsebench.engines.memory import keep_pages
from sparsebench.engines.sparse.training import KeptTrainable
from sparsebench.models import masks


def step_of(module: nn.Module, parameters: Sequence[nn.Parameter], batch: Tensor) -> Callable[[], None]:
    """Return a whole step of SGD with momentum over cross-entropy."""
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, weight_decay=1e-4)
    labels = torch.arange(len(batch)) % 10

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(module(batch), labels).backward()
        optimizer.step()

    return step


def of_torch(module: nn.Module, batch: Tensor) -> Callable[[], None]:
    """Return torch's step, the mask held after it."""
    module = copy.deepcopy(module).to(memory_format=torch.channels_last).train()
    return step_of(module, list(module.parameters()), batch)


def of_sparse(module: nn.Module, batch: Tensor, threads: int) -> tuple[Callable[[], None], KeptTrainable]:
    """Return the sparse engine's step, and its module."""
    own = copy.deepcopy(module)
    trained = KeptTrainable(own, masks.find(own).masks, threads=threads).train()
    return step_of(trained, list(trained.trained_parameters()), batch), trained


def layers(trained: KeptTrainable, batch: Tensor) -> list[str]:
    """Return the seconds of each kind of operation, and of the slowest operations."""
    found = trained.costs(batch)
    kinds: dict[str, float] = {}
    for _, kind, seconds in found:
        kinds[kind] = kinds.get(kind, 0) + seconds
    lines = [f"{kind:24} {1e3 * kinds[kind]:8.1f} ms" for kind in sorted(kinds, key=lambda k: -kinds[k])]
    slowest = sorted(found, key=lambda cost: -cost[2])[:40]
    return [*lines, "", *(f"{name:40} {1e3 * seconds:8.2f} ms" for name, _, seconds in slowest)]


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line per mask."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.8, 0.9, 0.95, 0.98])
    parser.add_argument("--mask", nargs="+", choices=sorted(KINDS), default=["uniform"])
    parser.add_argument("--layers", action="store_true", help="print where the time of the last network goes")
    parser.add_argument("--memory", choices=["torch", "sparse"], help="run this one alone and print its peak of memory")
    arguments = parser.parse_args(argv)
    keep_pages()
    torch.set_num_threads(arguments.threads)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
    for kind in arguments.mask:
        for sparsity in arguments.sparsity:
            model = network(arguments.arch, sparsity, kind, ("conv1", "conv_stem"))
            runs: dict[str, Callable[[], None]] = {}
            if arguments.memory != "sparse":
                runs["torch"] = of_torch(model, batch)
            if arguments.memory != "torch":
                runs["sparse"], trained = of_sparse(model, batch, arguments.threads)
            times: dict[str, list[float]] = {name: [] for name in runs}
            for turn in range(arguments.turns + 1):
                for name, run in runs.items():
                    started = time.perf_counter()
                    run()
                    if turn:
                        times[name].append(time.perf_counter() - started)
            best = {name: min(taken) for name, taken in times.items()}
            line = f"{arguments.arch} {kind} {sparsity:.0%}: " + ", ".join(f"{n} {s:.3f} s" for n, s in best.items())
            if len(runs) == 2:
                ratio = statistics.median(a / b for a, b in zip(times["torch"], times["sparse"], strict=True))
                line += f", {best['torch'] / best['sparse']:.2f} times (median {ratio:.2f})"
            print(line, flush=True)
            if arguments.layers:
                print("\n".join(layers(trained, batch)))
    if arguments.memory:
        print(f"{arguments.memory}: peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
