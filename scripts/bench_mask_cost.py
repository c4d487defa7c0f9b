"""Measure what holding the mask costs in full finetuning: a step with it to a step without, interleaved, medians.

The network is a ResNet-18 at 224 pixels with 90 % of its weights masked, trained as the published full protocol does
(SGD with momentum and weight decay).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

import torch

from common import run_script
from sparsebench.bench.work import step_times
from sparsebench.engines.memory import keep_pages
from sparsebench.models import backbones, masks


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args(argv)
    keep_pages()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = backbones.build(backbones.find(arguments.arch)[0], 37).to(memory_format=torch.channels_last)
    kept = {name: torch.rand(w.shape) < 0.1 for name, w in masks.prunable(model).items()}
    dense, held = step_times(model, model, kept, arguments.batch, 224, arguments.steps)
    whole, mask = statistics.median(dense), statistics.median(held)
    print(
        f"step {1e3 * whole:.1f} ms, mask {1e3 * mask:.2f} ms: {mask / whole:.2%} more, {arguments.threads} thread(s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
