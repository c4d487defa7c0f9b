"""Do the embedded tasks distinguish backbones? Linear accuracy of the dense backbone against random weights.

Random weights come twice: as initialised, and with their batch-norm statistics taken on the task's training images, the
fairer opponent. Both with several initialisations.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

import sparsebench
from common import run_script
from sparsebench.datasets import open_task
from sparsebench.datasets.images.batches import evaluation_batches
from sparsebench.datasets.images.transforms import Transform
from sparsebench.models import backbones
from sparsebench.registry import load_registry


def random_model(arch: str, seed: int) -> nn.Module:
    """Return an untrained network without a head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return backbones.build(backbones.find(arch)[0], 0)


def take_statistics(model: nn.Module, images: torch.Tensor) -> None:
    """Set the batch-norm statistics of ``model`` to those of ``images`` ``(n, 3, H, W)``, in place."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the plain average
    model.train()
    with torch.no_grad():
        model(images)
    model.eval()


def accuracy(checkpoint: str, task: str, results: Path, seeds: Sequence[int], arch: str | None = None) -> float:
    """Return the mean linear accuracy of a checkpoint over seeds."""
    table = sparsebench.run(checkpoint=checkpoint, arch=arch, task=task, mode="linear", seed=seeds, results=results)
    return float(table["accuracy"].mean())


def compare(task: str, inits: int, seeds: Sequence[int], folder: Path) -> dict[str, float | str]:
    """Return a task's accuracies (fractions) and the smallest gap between dense and any random network."""
    dense = sparsebench.load("mini.dense")
    arch = dense.info.arch
    data, transform = open_task(load_registry().task(task)), Transform(dense.preprocess, None)
    images = torch.cat([transform.normalise(b) for b in evaluation_batches(data.train, transform, 256)])
    plain: list[float] = []
    fair: list[float] = []
    for init in range(inits):
        model = random_model(arch, init)
        for kind, found in (("plain", plain), ("bn", fair)):
            if kind == "bn":
                take_statistics(model, images)
            path = folder / f"random-{task}-{kind}-{init}.safetensors"
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
            found.append(accuracy(str(path), task, folder / "runs", seeds, arch))
    top = accuracy("mini.dense", task, folder / "runs", seeds)
    return {
        "task": task,
        "dense": top,
        "random": sum(plain) / inits,
        "random_bn": sum(fair) / inits,
        "smallest_gap": top - max(plain + fair),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison; 1 if a gap is below ten points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inits", type=int, default=5, help="random initialisations (default: 5)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the linear classifier (default: 3)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tasks = load_registry().suite("mini").tasks
        rows = [compare(task, arguments.inits, range(arguments.seeds), Path(folder)) for task in tasks]
    table = pd.DataFrame(rows).set_index("task")
    print((100 * table).round(1).to_string())
    return 0 if bool((table["smallest_gap"] >= 0.10).all()) else 1


if __name__ == "__main__":
    sys.exit(run_script(main))
