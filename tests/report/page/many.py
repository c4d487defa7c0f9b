"""A results table of many made-up checkpoints and tasks, for tests of how large a page gets."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from sparsebench.registry import Registry
from sparsebench.report.aggregate import aggregate
from sparsebench.report.page import Known, Layer, Network, Sources, page_html
from sparsebench.store import tidy
from sparsebench.store.classes import Reader

NASTY = "<script>alert('x')</script>\"&"
METHODS = ("acdc", "gmp", "rigl", "str", "woodfisher", "mfac", "cram", "magnitude", "lth")
TASKS = ("aircraft", "birdsnap", "caltech101", "caltech256", "cars", "cifar10", "cifar100", "dtd", "flowers102",
         "food101", "pets", "sun397")  # fmt: skip
MODES = (("linear", "sgd", "cvpr22-linear"), ("full", None, "cvpr22-full"))


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def many(checkpoints: int = 200, tasks: tuple[str, ...] = TASKS, seeds: int = 3) -> pd.DataFrame:
    """Return a tidy table: one dense reference, the others sparse, in both modes."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(checkpoints):
        method = "dense" if number == 0 else METHODS[number % len(METHODS)]
        sparsity = 0.0 if number == 0 else (0.5, 0.8, 0.9, 0.95, 0.98)[number // len(METHODS) % 5]
        name = "resnet50.dense" if number == 0 else f"resnet50.{method}_v{number}_s{100 * sparsity:.0f}"
        quality = 0.75 - 0.15 * sparsity**6 + 0.01 * rng.standard_normal()
        for mode, probe, protocol in MODES:
            for at, task in enumerate(tasks):
                for seed in range(seeds):
                    accuracy = quality + 0.015 * (at - 6) + 0.003 * rng.standard_normal() + 0.05 * (mode == "full")
                    run = sha(f"{name}/{task}/{mode}/{seed}")[:16]
                    rows.append(
                        {
                            "run_id": run, "record_key": f"{run}-e46be135", "status": "ok", "checkpoint": name,
                            "method": method, "variant": None if number == 0 else f"v{number}", "arch": "resnet50",
                            "sparsity": sparsity, "sparsity_measured": sparsity, "sparsity_scope": "prunable",
                            "distribution": "global" if number else "dense",
                            "reference": None if number == 0 else "resnet50.dense", "replicate": 0,
                            "upstream_top1": quality, "task": task, "mode": mode, "probe": probe, "protocol": protocol,
                            "seed": seed, "metric": "top1", "accuracy": accuracy, "top1": accuracy, "n_test": 5000,
                            "n_train": 3000, "n_classes": 100, "device": "cpu", "precision": "fp32", "engine": "torch",
                            "threads": 1, "numerics": "e46be135", "weights_sha256": sha(name),
                            "mask_sha256": sha(name + "m"),
                            "started": "2026-01-01T00:00:00+00:00",
                        }
                    )  # fmt: skip
    return tidy(pd.DataFrame(rows))


def networks(frame: pd.DataFrame, layers: int = 53) -> dict[tuple[str, str], Network]:
    """Return made-up layers of every network of a table."""
    found = {}
    for weights, mask, sparsity in (
        frame[["weights_sha256", "mask_sha256", "sparsity"]].drop_duplicates().itertuples(index=False)
    ):
        own = tuple(
            Layer(
                f"layer{at // 13 + 1}.{at % 13}.conv2.weight",
                36864 * (1 + at // 13),
                int(sparsity * 36864 * (1 + at // 13)),
            )
            for at in range(layers)
        )
        found[weights, mask] = Network(own, int(4e7 * (1 - sparsity) + 3e6))
    return found


def make(
    frame: pd.DataFrame,
    registry: Registry | None = None,
    predictions: Reader | None = None,
    bench: pd.DataFrame | None = None,
    **known: Any,
) -> str:
    """Return the page of a tidy table."""
    registry = registry or Registry()
    known = {"networks": networks(frame)} | known
    return page_html(Sources(frame, aggregate(frame, registry), registry, predictions, bench, Known(**known)))
