"""Trainings of upstream networks that take a second, and what is read from their files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import sparsebench
from sparsebench.models import backbones, masks
from sparsebench.models.formats import RawCheckpoint, read_checkpoint
from sparsebench.pruning.initial import Initial
from sparsebench.pruning.methods import methods
from sparsebench.pruning.prune import Pruned, Report, make_recipe, prune
from sparsebench.pruning.trainer import Hardware
from sparsebench.pruning.upstream import UpstreamData

COMMAND = "sparsebench prune --method ..."

EPOCH = 4  # steps: 64 images in batches of 16

ENDS = ("conv1", "fc")

QUICK = {
    "gradient_count": 3.0,
    "gradient_batch": 8.0,
    "prunings": 2.0,
    "damp": 0.01,
    "block": 4.0,
    "recomputations": 1.0,
}
"""Settings of second-order methods that take no time."""


def train(
    data: UpstreamData,
    out: Path,
    method: str = "acdc",
    sparsities: tuple[float, ...] | None = None,
    *,
    init: Path | None = None,
    hardware: Hardware | None = None,
    report: Report | None = None,
    **choices: Any,
) -> Pruned:
    wanted = sparsities or ((0.0,) if method == "dense" else (0.8,))
    choices = {"epochs": 0 if method == "magnitude" else 2, "batch_size": 16} | choices
    initial = None if init is None else Initial.read(init)
    recipe = make_recipe(method, wanted, data, init=initial, **choices)
    return prune(recipe, data, out, init=initial, command=COMMAND, hardware=hardware, report=report)


def start_from(method: str, dense: Path) -> Path | None:
    return dense if methods()[method].start == "dense" else None


def interrupt(kind: str, at: int) -> Report:
    """Interrupt after a step, counted from 1, or after an epoch, counted from 0."""

    def report(what: str, values: dict[str, Any]) -> None:
        if what == kind and values["done" if kind == "step" else "epoch"] == at:
            raise KeyboardInterrupt

    return report


def sparse(path: Path) -> tuple[RawCheckpoint, dict[str, Tensor]]:
    raw = read_checkpoint(path)
    assert raw.masks is not None
    return raw, dict(raw.masks)


def pruned(path: Path) -> int:
    return sum(int((~mask).sum()) for mask in sparse(path)[1].values())


def log_lines(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return list(csv.DictReader(handle))


def untimed(path: Path) -> list[dict[str, str]]:
    return [line | {"seconds": ""} for line in log_lines(path)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def accuracy(path: Path, data: UpstreamData) -> float:
    """Upstream top-1 of a file, from its own preprocessing and head."""
    backbone = sparsebench.load(path, head=True)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.preprocess.mean, backbone.preprocess.std))
    images = (data.val_images[0 : len(data.val_images)].permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        return float((backbone.module(images).argmax(1) == data.val_labels).float().mean())


def mini_weights() -> dict[str, Tensor]:
    return masks.prunable(backbones.build(backbones.find("mini")[0], 4))
