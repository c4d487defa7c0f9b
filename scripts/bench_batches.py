"""Measure engine ``sparse`` against torch for many batch sizes, and every engine's peak memory (``--memory``).

Both are called as users call them, through ``sparsebench.engines.compile``; what a chunk doesn't fill may go to torch
there. Ratios are medians of the ratios within a turn. Peak memory is that of a process of its own for each engine,
with what loading the same packages and making the network takes beside it.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence

import torch

from bench_engine import KINDS, measure, network
from common import run_script
from sparsebench import engines
from sparsebench.engines.memory import keep_pages


def batches(arguments: argparse.Namespace) -> None:
    """Print a line per batch size: the speeds, and how much faster ``sparse`` is."""
    model = network(arguments.arch, arguments.sparsity, arguments.mask, ("conv1", "conv_stem"))
    for count in arguments.batches:
        shape = (count, 3, arguments.size, arguments.size)
        batch = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
        runs = {name: engines.compile(model, shape, name, arguments.threads) for name in ("torch", "sparse")}
        times = measure(runs, batch, arguments.turns)
        ratio = statistics.median(a / b for a, b in zip(times["torch"], times["sparse"], strict=True))
        speeds = {name: count / statistics.median(taken) for name, taken in times.items()}
        print(
            f"batch {count:4}: torch {speeds['torch']:6.1f} img/s, sparse {speeds['sparse']:6.1f} img/s, "
            f"{ratio:5.2f} times torch",
            flush=True,
        )


def peak(arguments: argparse.Namespace) -> None:
    """Print this process's peak memory before and after running one engine."""
    model = network(arguments.arch, arguments.sparsity, arguments.mask, ("conv1", "conv_stem"))
    shape = (arguments.batches[0], 3, arguments.size, arguments.size)
    batch = torch.randn(shape)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = engines.compile(model, shape, arguments.memory, arguments.threads)
    for _ in range(3):
        run(batch)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{arguments.memory:12} peak {after / 1024:6.0f} MiB, of which {before / 1024:4.0f} MiB before it was built")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--mask", choices=sorted(KINDS), default="uniform")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128, 256])
    parser.add_argument("--memory", nargs="?", const="all", help="peak memory of an engine at the first batch size")
    arguments = parser.parse_args(argv)
    keep_pages()
    if arguments.memory is None:
        batches(arguments)
    elif arguments.memory != "all":
        peak(arguments)
    else:
        names = ["torch", "sparse", *(["onnxruntime"] if importlib.util.find_spec("onnxruntime") else [])]
        given = sys.argv[1:] if argv is None else list(argv)
        rest = [word for word in given if word != "--memory"]
        for name in names:
            subprocess.run([sys.executable, __file__, *rest, f"--memory={name}"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
