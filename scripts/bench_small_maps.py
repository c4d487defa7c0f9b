"""Measure what matrix products for weight gradients save in bf16 on this CPU: layer by layer, then a whole step.

Interleaved, medians; a ratio above 1 means that the product is faster. See ``sparsebench.pruning.small_maps``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import run_script
from sparsebench.engines.memory import keep_pages
from sparsebench.models import backbones
from sparsebench.pruning.small_maps import use_matrix_products, weight_gradient

LAYERS = ((64, 64, 8, 3, 1), (64, 128, 8, 3, 2), (128, 128, 4, 3, 1), (128, 256, 4, 3, 2), (256, 256, 2, 3, 1))
"""Inputs, outputs, height and width, kernel, stride."""


def ratio(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the medians in milliseconds of two functions, called in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 2):
        for function, found in zip((ours, theirs), times, strict=True):
            began = time.perf_counter()
            function()
            if repeat >= 2:  # the first calls set things up
                found.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times[0]), statistics.median(times[1])


def layer_gradients(
    batch: int, inputs: int, outputs: int, size: int, kernel: int, stride: int
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Return two ways to a layer's weight gradient: the product, and the library's own."""
    pad = kernel // 2
    x, weight = torch.randn(batch, inputs, size, size), torch.randn(outputs, inputs, kernel, kernel)
    x, weight = (t.bfloat16().to(memory_format=torch.channels_last) for t in (x, weight))
    out = torch.randn_like(F.conv2d(x, weight, None, stride, pad))

    def theirs() -> Tensor:
        found: Tensor = torch.ops.aten.convolution_backward(
            out, x, weight, None, (stride, stride), (pad, pad), (1, 1), False, (0, 0), 1, [False, True, False]
        )[1]
        return found

    return lambda: weight_gradient(x, out, weight.shape, (stride, stride), (pad, pad)), theirs


def training_step(model: nn.Module, batch: int) -> Callable[[], None]:
    """Return a forward and backward pass of a model under autocast to bf16."""
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(200, (batch,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()

    return step


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per layer, and one for the whole step."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args(argv)
    keep_pages()
    torch.set_num_threads(arguments.threads)
    print(f"{'':34} {'product':>9} {'library':>9} {'ratio':>6}")
    for layer in LAYERS:
        a, b = ratio(*layer_gradients(arguments.batch, *layer), arguments.repeats)
        print(
            f"{'{}->{} at {}, {}x{}, stride {}'.format(*layer[:4], *layer[3:]):34} {a:6.2f} ms {b:6.2f} ms {b / a:6.2f}"
        )
    models = [backbones.build(backbones.find("mini")[0], 200).to(memory_format=torch.channels_last) for _ in range(2)]
    use_matrix_products(models[0])
    ours, theirs = (training_step(model, arguments.batch) for model in models)
    a, b = ratio(ours, theirs, arguments.repeats)
    print(f"{'forward and backward of mini':34} {a:6.1f} ms {b:6.1f} ms {b / a:6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
