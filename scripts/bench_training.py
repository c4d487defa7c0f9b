"""Measure a training step (forward, backward, SGD) of a network: torch's, dense, and engine sparse's of a pruned one.

Torch runs eagerly, contiguous and channels_last, and compiled (``--dense`` chooses among them); the sparse engine
trains the kept weights alone, as full mode does. All take turns, and keep their pages. The ratio is that of the best of
the turns, of torch's quickest way and ours; the second one the median of the turns'. ``--layers`` prints where the time
of the last network goes. ``--memory`` measures no time, but runs each way in a process of its own, and prints the peak
of its resident memory as the system saw it.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import subprocess
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

DENSE = ("contiguous", "channels_last", "compiled")


def step_of(module: nn.Module, parameters: Sequence[nn.Parameter], batch: Tensor) -> Callable[[], None]:
    """Return a whole step of SGD with momentum over cross-entropy."""
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, weight_decay=1e-4)
    labels = torch.arange(len(batch)) % 10

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(module(batch), labels).backward()
        optimizer.step()

    return step


def of_torch(module: nn.Module, batch: Tensor, way: str) -> Callable[[], None]:
    """Return torch's step in one of the ways of ``DENSE``."""
    layout = torch.contiguous_format if way == "contiguous" else torch.channels_last
    module = copy.deepcopy(module).to(memory_format=layout).train()
    parameters = list(module.parameters())
    run: nn.Module = torch.compile(module) if way == "compiled" else module  # type: ignore[assignment]
    return step_of(run, parameters, batch.to(memory_format=layout))


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


def measure(runs: dict[str, Callable[[], None]], turns: int) -> dict[str, list[float]]:
    """Return the seconds of each way in each turn; a first one sets things up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - started)
    return times


def compared(times: dict[str, list[float]]) -> str:
    """Return the best seconds of each way, and how many times quicker the sparse engine is than the quickest other."""
    best = {name: min(taken) for name, taken in times.items()}
    line = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in best.items())
    if len(best) == 1:
        return line
    dense = min((name for name in best if name != "sparse"), key=lambda name: best[name])
    ratio = statistics.median(a / b for a, b in zip(times[dense], times["sparse"], strict=True))
    return f"{line}; {best[dense] / best['sparse']:.2f} times (median {ratio:.2f})"


def peak(way: str, options: Sequence[str]) -> float:
    """Return the peak of resident memory (MiB) of a process that takes a few steps in one way."""
    process = subprocess.Popen([sys.executable, __file__, "--alone", way, *options])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return usage.ru_maxrss / 1024


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
    parser.add_argument("--dense", nargs="+", choices=DENSE, default=list(DENSE), help="torch's ways")
    parser.add_argument("--layers", action="store_true", help="print where the time of the last network goes")
    parser.add_argument("--memory", action="store_true", help="print the peaks of memory in place of times")
    parser.add_argument("--alone", choices=[*DENSE, "sparse"], help="run this way alone")
    parser.add_argument("--drop-pages", action="store_true", help="leave the allocator as it is")
    arguments = parser.parse_args(argv)
    if arguments.memory:
        options = [each for each in (sys.argv[1:] if argv is None else argv) if each != "--memory"]
        peaks = {way: peak(way, options) for way in [*arguments.dense, "sparse"]}
        line = ", ".join(f"{way} {mib:.0f} MiB" for way, mib in peaks.items())
        print(f"peak: {line}; {peaks['sparse'] / min(peaks[way] for way in arguments.dense):.2f} times the least")
        return 0
    if not arguments.drop_pages:
        keep_pages()
    torch.set_num_threads(arguments.threads)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
    ways = [arguments.alone] if arguments.alone else [*arguments.dense, "sparse"]
    dense: dict[str, Callable[[], None]] = {}
    for kind in arguments.mask:
        for sparsity in arguments.sparsity:
            model = network(arguments.arch, sparsity, kind, ("conv1", "conv_stem"))
            dense = dense or {way: of_torch(model, batch, way) for way in ways if way != "sparse"}
            runs = dict(dense)
            if "sparse" in ways:
                runs["sparse"], trained = of_sparse(model, batch, arguments.threads)
            print(f"{arguments.arch} {kind} {sparsity:.0%}: {compared(measure(runs, arguments.turns))}", flush=True)
            if arguments.layers:
                print("\n".join(layers(trained, batch)))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
