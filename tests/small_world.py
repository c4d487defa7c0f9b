"""A small world for tests of features and finetuning: a tiny network, its sparse twin, and a task of coloured noise."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import nn

from sparsebench.datasets.base import Split, TaskData
from sparsebench.datasets.images.transforms import Transform
from sparsebench.models import masks as masking
from sparsebench.models.sparsity import SparsityReport, measure
from sparsebench.schema import Augment, Preprocess, Protocol, Task

SIZE = 8
CLASSES = 3
PREPROCESS = Preprocess(input_size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), crop_pct=1.0)


class TinyNet(nn.Module):
    """Two convolutions with batch norm, dropout if asked for, average pooling: features of dimension 8."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.drop(x.mean((2, 3)))


@dataclass(frozen=True)
class FakeInfo:
    arch: str = "tiny"
    feature_dim: int = 8
    weights_sha256: str = "a" * 64
    mask_sha256: str = "b" * 64
    head_name: str = "fc"
    sparsity: SparsityReport = field(default_factory=lambda: SparsityReport((), 0, 0, 0))


@dataclass(frozen=True)
class FakeBackbone:
    module: nn.Module
    masks: dict[str, torch.Tensor] = field(default_factory=dict)
    info: FakeInfo = FakeInfo()
    preprocess: Preprocess = PREPROCESS


def backbone(*, sparsity: float = 0.0, seed: int = 0, dropout: float = 0.0, dirty: bool = False) -> FakeBackbone:
    """A tiny backbone whose conv2 is masked at random; ``dirty`` leaves the masked weights as they were drawn."""
    source = torch.Generator().manual_seed(seed)
    module = TinyNet(dropout).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 4:
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5, generator=source)
    masks = {}
    if sparsity:
        masks = {"conv2.weight": torch.rand(module.conv2.weight.shape, generator=source) >= sparsity}
        if not dirty:
            masking.apply(module, masks)
    report = measure(module, masking.find(module, masks))
    return FakeBackbone(module, masks, FakeInfo(sparsity=report))


def split(count: int, seed: int, prefix: str = "image") -> Split:
    """Images of noise whose mean colour tells their class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    tint = np.eye(CLASSES, 3) * 60
    pixels = np.clip(rng.normal(110, 40, (count, SIZE, SIZE, 3)) + tint[labels][:, None, None], 0, 255).astype(np.uint8)
    return Split(
        ids=tuple(f"{prefix}-{i}" for i in range(count)),
        labels=labels,
        hashes=tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels),
        load=lambda i: Image.fromarray(pixels[i]),
    )


def task_data(n_train: int = 48, n_val: int = 12, n_test: int = 24, metric: str = "top1") -> TaskData:
    return TaskData(
        task=Task(id="tints", loader="fake", metric=metric),
        classes=("red", "green", "blue"),
        train=split(n_train, 1, "train"),
        val=split(n_val, 2, "val"),
        test=split(n_test, 3, "test"),
    )


def transform(*, shift: int = 0) -> Transform:
    augment = Augment(crop="shift", shift=shift) if shift else None
    return Transform(preprocess=PREPROCESS, augment=augment)


def full_protocol(**changes: object) -> Protocol:
    settings = {"name": "test-full", "mode": "full", "lr": 0.02, "batch_size": 16, "epochs": 3, "milestones": (2,)}
    return Protocol.model_validate(settings | changes)
