"""Measure engine ``sparse`` on timm's networks against torch and onnxruntime, both dense, as a Markdown table.

All run the same batch in turns, as users call them (:func:`sparsebench.engines.compile`: what doesn't fill a chunk may
go to torch). Random weights and masks, the first layer dense. Ratios are medians of the ratios within a turn.
``--linear`` measures a transformer's linear layers instead: each kind alone, the sum over all blocks.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from bench_engine import measure
from common import run_script
from engine_networks import NAMES, network
from sparsebench import engines
from sparsebench.engines.memory import keep_pages
from sparsebench.engines.onnx import OnnxEngine
from sparsebench.engines.sparse import SparseEngine
from sparsebench.schema import InputError

Runs = dict[str, Callable[[Tensor], Tensor]]
OTHERS = ("torch", "onnxruntime")


def others(arguments: argparse.Namespace) -> list[str]:
    """Return the engines to compare with that are here."""
    return [name for name in arguments.against if name == "torch" or importlib.util.find_spec("onnxruntime")]


def ratio(times: dict[str, list[float]], of: str, to: str) -> str:
    """Return how many times as fast one is as another, or a dash where the other isn't there."""
    if to not in times:
        return "–"
    return f"{median(a / b for a, b in zip(times[to], times[of], strict=True)):.2f}"


def rows(name: str, arguments: argparse.Namespace) -> Iterator[str]:
    """Yield a network's lines, one per batch size: images per second, and ratios, dense and pruned."""
    model, pruned = network(name, 0.0), network(name, arguments.sparsity)
    most = (max(arguments.batches), 3, arguments.size, arguments.size)
    images = torch.randn(most, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
    try:
        runs: Runs = {
            key: engines.compile(model, most, key, arguments.threads) for key in [*others(arguments), "sparse"]
        }
        runs["pruned"] = engines.compile(pruned, most, "sparse", arguments.threads)
    except InputError as error:
        yield f"| {name} | | no: {error.message} | | | | | |"
        return
    for count in arguments.batches:
        times = measure(runs, images[:count], arguments.turns)
        speed = [f"{count / median(times[key]):.1f}" for key in ("torch", "pruned")]
        ratios = [ratio(times, key, other) for key in ("sparse", "pruned") for other in OTHERS]
        yield f"| {' | '.join([name, str(count), *speed, *ratios])} |"


def linear_row(name: str, arguments: argparse.Namespace, count: int) -> str:
    """Return a line of the linear layers of a transformer's blocks: milliseconds of their sum, and ratios."""
    model = network(name, arguments.sparsity)
    size = 224
    batch = torch.randn((count, 3, size, size), generator=torch.Generator().manual_seed(1))
    engine = SparseEngine(model, arguments.threads, batch.shape)
    engine(batch)
    program = engine.program(size, size)
    blocks = [n for n, layer in model.named_modules() if n.startswith("blocks.1.") and isinstance(layer, nn.Linear)]
    sums: dict[str, list[float]] = {}
    for block in blocks:
        layer = model.get_submodule(block)
        assert isinstance(layer, nn.Linear)
        tokens = torch.randn(count, 1, 197, layer.in_features)
        index = program.names.index(block)
        chunks = -(-count // engine.lanes)

        def sparse(batch: Tensor, index: int = index, chunks: int = chunks) -> Tensor:
            for _ in range(chunks):
                program.run(None, index, 1)
            return batch

        runs: Runs = {"torch": partial(_torch, layer), "sparse": sparse}
        if "onnxruntime" in others(arguments):
            runs["onnxruntime"] = OnnxEngine(layer, arguments.threads, tuple(tokens.shape))
        for key, taken in measure(runs, tokens, arguments.turns).items():
            sums[key] = [a + b for a, b in zip(sums.get(key, [0.0] * len(taken)), taken, strict=True)]
    depth = len({n.split(".")[1] for n, _ in model.named_modules() if n.startswith("blocks.")})
    spent = [f"{1e3 * depth * median(sums[key]):.0f}" for key in ("torch", "sparse")]
    ratios = [ratio(sums, "sparse", other) for other in OTHERS]
    return f"| {' | '.join([name, str(count), *spent, *ratios])} |"


def _torch(layer: nn.Module, tokens: Tensor) -> Tensor:
    with torch.inference_mode():
        found: Tensor = layer(tokens)
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument(
        "--against", nargs="+", choices=OTHERS, default=OTHERS, help="default: both, where they are here"
    )
    parser.add_argument("--linear", action="store_true", help="the linear layers of transformers")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--sparsity", type=float, default=0.8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args(argv)
    keep_pages()
    torch.set_num_threads(arguments.threads)
    pruned = f"{arguments.sparsity:.0%}"
    if arguments.linear:
        columns = ["torch, ms", f"sparse {pruned}, ms", "to torch", "to onnxruntime"]
    else:
        columns = ["torch, img/s", f"sparse {pruned}, img/s", "dense to torch", "dense to onnxruntime"]
        columns += [f"{pruned} to torch", f"{pruned} to onnxruntime"]
    print("| " + " | ".join(["network", "batch", *columns]) + " |\n|" + "---|" * (2 + len(columns)), flush=True)
    for name in arguments.names:
        lines = (linear_row(name, arguments, count) for count in arguments.batches)
        for line in lines if arguments.linear else rows(name, arguments):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
