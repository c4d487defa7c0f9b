"""What probes share: the linear head, its initialisation, a seed's generators, and the scores of logits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ...analysis.metrics import mean_per_class, top1
from ...schema import digest
from .rows import Rows

_ROWS = 2**16  # of logits in double precision at a time


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier: logits = x W^T + b.

    Parameters
    ----------
    weight : ndarray of float32, shape (C, d)
        One row per class.
    bias : ndarray of float32, shape (C,)
        One number per class.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def logits(self, x: npt.NDArray[np.float32] | Rows) -> npt.NDArray[np.float32]:
        """Return the logits (n, C) of features (n, d)."""
        rows = x if isinstance(x, Rows) else Rows([x])
        weight, bias = torch.from_numpy(self.weight), torch.from_numpy(self.bias)
        out = torch.empty(len(rows), len(self.bias))
        for at, part in rows.chunks():
            torch.addmm(bias, part, weight.T, out=out[at])
        return out.numpy()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return weight and bias, without copying them."""
        return {"weight": torch.from_numpy(self.weight), "bias": torch.from_numpy(self.bias)}


@dataclass(frozen=True)
class Accuracy:
    """Fractions of images classified rightly: of all, and of each class's, averaged over classes."""

    top1: float
    mean_per_class: float


def evaluate(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], num_classes: int) -> Accuracy:
    """Return the accuracies of logits (n, C) against labels (n,)."""
    predicted = logits.argmax(axis=1)
    return Accuracy(float(top1(predicted, labels)), float(mean_per_class(predicted, labels, num_classes)))


def cross_entropy(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the mean cross-entropy, in nats, of logits (n, C) under labels (n,)."""
    scores, classes = torch.from_numpy(logits), torch.from_numpy(labels)
    if len(labels) <= _ROWS:
        return float(torch.nn.functional.cross_entropy(scores.double(), classes))
    parts = zip(scores.split(_ROWS), classes.split(_ROWS), strict=True)
    total = sum(float(torch.nn.functional.cross_entropy(s.double(), c, reduction="sum")) for s, c in parts)
    return total / len(labels)


def stream_seed(seed: int, stream: str) -> int:
    """Return the seed of one of a run's independent random streams, such as ``"head"`` and ``"order"``."""
    return int(digest({"seed": seed, "stream": stream})[:15], 16)


def generator(seed: int, stream: str) -> torch.Generator:
    """Return the CPU generator of one of a run's random streams, at its start."""
    return torch.Generator().manual_seed(stream_seed(seed, stream))


def default_linear(num_classes: int, dimension: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw weight (C, d) and bias (C,) as ``nn.Linear`` does: uniform within +-1/sqrt(d), by the seed's own stream."""
    bound = 1.0 / math.sqrt(dimension)
    source = generator(seed, "head")
    weight = torch.empty(num_classes, dimension).uniform_(-bound, bound, generator=source)
    bias = torch.empty(num_classes).uniform_(-bound, bound, generator=source)
    return weight, bias
