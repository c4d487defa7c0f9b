"""Measure the engines on a pruned ResNet-50, in turns: images per second, and the ratio to onnxruntime (or to torch).

Torch runs with batch norm folded, channels_last and kept pages; its speed, and onnxruntime's, hardly depend on the
mask, so they are measured dense. Medians; the ratios are medians of the ratios within a turn, so that what else the
machine does strikes both sides. ``--layers`` prints the roofline of the last network, layer by layer.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from common import run_script
from sparsebench.engines import prepare
from sparsebench.engines.memory import keep_pages
from sparsebench.engines.sparse import SparseEngine
from sparsebench.engines.sparse.roofline import table
from sparsebench.models import backbones, masks
from sparsebench.pruning.distributions import erk_masks, global_masks, uniform_masks
from sparsebench.schema import Numerics

KINDS = {"uniform": uniform_masks, "global": global_masks, "erk": erk_masks}


def network(name: str, sparsity: float, kind: str, exempt: Sequence[str]) -> nn.Module:
    """Return a network with random weights and statistics, pruned by magnitude but for its stem."""
    torch.manual_seed(0)
    model = backbones.build(backbones.find(name)[0], 0).eval()
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.75, 1.25)
                layer.weight.uniform_(0.5, 1)
                layer.bias.normal_(0, 0.1)
    weights = masks.prunable(model, tuple(exempt))
    if sparsity > 0:
        masks.apply(model, KINDS[kind]({key: w.detach().abs() for key, w in weights.items()}, sparsity))
    return model


def measure(runs: dict[str, Callable[[Tensor], Tensor]], batch: Tensor, turns: int) -> dict[str, list[float]]:
    """Return the seconds of each engine in each turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run(batch)
            if turn:  # the first sets things up
                times[name].append(time.perf_counter() - started)
    return times


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line per engine and mask."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.8, 0.9, 0.95, 0.98])
    parser.add_argument("--mask", nargs="+", choices=sorted(KINDS), default=["uniform", "global", "erk"])
    parser.add_argument("--layers", action="store_true", help="print the roofline of the last network")
    arguments = parser.parse_args(argv)
    keep_pages()
    torch.set_num_threads(arguments.threads)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
    dense = network(arguments.arch, 0, "uniform", ())
    yardsticks = ["onnxruntime"] if importlib.util.find_spec("onnxruntime") else []
    runs: dict[str, Callable[[Tensor], Tensor]] = {
        name: prepare(dense, Numerics(engine=name, threads=arguments.threads), shape) for name in [*yardsticks, "torch"]
    }
    engine: SparseEngine | None = None
    for kind in arguments.mask:
        for sparsity in arguments.sparsity:
            model = network(arguments.arch, sparsity, kind, ("conv1", "conv_stem"))
            engine = SparseEngine(model, arguments.threads, shape)
            with torch.inference_mode():
                expected = model(batch[:4])
            off = float((engine(batch[:4]) - expected).abs().max() / expected.abs().max())
            runs[f"sparse {kind} {sparsity:.0%} (off {off:.0e})"] = engine
    times = measure(runs, batch, arguments.turns)
    yardstick = next(iter(runs))
    for name, taken in times.items():
        ratio = statistics.median(a / b for a, b in zip(times[yardstick], taken, strict=True))
        speed = arguments.batch / statistics.median(taken)
        best = arguments.batch / min(taken)
        print(f"{name:36} {speed:7.1f} img/s (best {best:6.1f}), {ratio:5.2f} times {yardstick}")
    if arguments.layers and engine is not None:
        print("\n".join(table(engine, batch)))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
