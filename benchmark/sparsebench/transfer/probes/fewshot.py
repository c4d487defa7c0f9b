"""Few images per class: nearest centroid over many random draws.

Features are centred by the mean of the training features and scaled to unit length, the centroids of a draw are the
class means of its images, and an image goes to the nearest one (SimpleShot, CL2N; Wang et al. 2019). Logits are minus
half the squared distances, up to what all classes share: x . c - |c|^2 / 2.

A draw takes as many random images of each class as asked for, without replacement; all of them where the class has
fewer. The interval is Student's over draws; they share the test images, so it covers which images are drawn, nothing
else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...analysis import metrics
from ...analysis.metrics import mean, sd, student_t_quantile
from ...common.progress import Progress, Throttle
from ...schema import FewShotScore, Protocol, RunError
from .base import stream_seed
from .data import Fitted, Labels, Logits, ProbeData
from .rows import Gatherer, Rows

_QUERIES = 4096  # test images that are classified at a time
_COLUMNS = 1024  # centroids that are compared with at a time: several draws' in one product


def fit_seeds(
    data: ProbeData,
    protocol: Protocol,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Fitted | RunError]:
    """Draw and classify for each seed, which draws images of its own.

    The scores' headline is that of most images per class; ``test_logits`` are those of its first draw.
    """
    kept = data.n_train if protocol.train_on == "train" else len(data.y)
    shots, draws = protocol.settings.few_shot.shots, protocol.settings.few_shot.draws
    report = Throttle(progress, len(seeds) * len(shots) * draws)
    setting = _Setting(data, data.x.head(kept), data.y[:kept], device)
    fitted: list[Fitted | RunError] = []
    for seed in seeds:
        started = time.perf_counter()
        scores, logits = [], None
        for shot in shots:
            results = setting.run(shot, draws, stream_seed(seed, f"shots {shot}"), report)
            scores.append(_score(shot, results))
            logits = results.first
        assert logits is not None  # noqa: S101 - there is a number of shots
        fitted.append(Fitted(logits, time.perf_counter() - started, kept, few_shot=tuple(scores)))
    return fitted


@dataclass(frozen=True)
class _Results:
    """Accuracies of every draw, and the first one's logits."""

    top1: list[float]
    mean_per_class: list[float]
    first: Logits


class _Setting:
    """What all draws share: the training rows by class, their mean, and the test features, centred and scaled."""

    def __init__(self, data: ProbeData, x: Rows, y: Labels, device: str) -> None:
        self._data, self._device = data, torch.device(device)
        self._source: Gatherer = x.on(self._device)
        self._by_class = [np.flatnonzero(y == label) for label in range(data.num_classes)]
        total = torch.zeros(x.dimension, dtype=torch.float64, device=self._device)
        for _, rows in x.chunks(self._device):
            total += rows.sum(0, dtype=torch.float64)
        self._mean = (total / len(y)).float()
        self._present = torch.tensor([len(rows) > 0 for rows in self._by_class], device=self._device)

    def run(self, shot: int, draws: int, seed: int, report: Throttle) -> _Results:
        """Classify the test images by each of the draws."""
        random = np.random.default_rng(seed)
        together = max(1, _COLUMNS // self._data.num_classes)
        first: Logits | None = None
        top1: list[float] = []
        per_class: list[float] = []
        for start in range(0, draws, together):
            count = min(together, draws - start)
            predicted, logits = self._classify(torch.stack([self._centroids(shot, random) for _ in range(count)]))
            first = logits if first is None else first
            for row in predicted:
                top1.append(metrics.top1(row, self._data.y_test))
                per_class.append(metrics.mean_per_class(row, self._data.y_test, self._data.num_classes))
            report.advance(count)
        assert first is not None  # noqa: S101 - there is a draw
        return _Results(top1, per_class, first)

    def _centroids(self, shot: int, random: np.random.Generator) -> Tensor:
        """Return a draw's centroids (C, d)."""
        drawn = [rows[random.permutation(len(rows))[:shot]] for rows in self._by_class]
        index = torch.from_numpy(np.concatenate(drawn)).to(self._device)
        images = torch.empty(len(index), len(self._mean), device=self._device)
        self._source.take(index, images)
        images = normalize(images - self._mean, dim=1)
        sizes = np.array([len(rows) for rows in drawn])
        starts = np.cumsum(sizes) - sizes
        sums = torch.zeros(len(drawn), len(self._mean), device=self._device)
        for k in range(sizes.max()):  # one image of each class: a GPU adds several of a class in any order
            (classes,) = np.nonzero(sizes > k)
            own = torch.from_numpy(starts[classes] + k).to(self._device)
            sums.index_add_(0, torch.from_numpy(classes).to(self._device), images[own])
        return sums / torch.from_numpy(sizes.clip(1)).to(self._device).unsqueeze(1)

    def _classify(self, centroids: Tensor) -> tuple[npt.NDArray[np.int64], Logits]:
        """Return the classes (T, m) of the test images by each of T draws' centroids, and the first one's logits."""
        draws, classes, dimension = centroids.shape
        offset = centroids.square().sum(2) / 2
        offset[:, ~self._present] = torch.inf  # a class without an image is never the nearest
        predicted = np.empty((draws, len(self._data.y_test)), dtype=np.int64)
        logits = np.empty((len(self._data.y_test), classes), dtype=np.float32)
        flat = centroids.view(-1, dimension).T
        for at, rows in Rows([self._data.x_test]).chunks(self._device, _QUERIES):
            score = (normalize(rows - self._mean, dim=1) @ flat).view(len(rows), draws, classes) - offset
            predicted[:, at] = score.argmax(2).T.cpu().numpy()
            logits[at] = score[:, 0].clamp_min(-1e4).cpu().numpy()
        return predicted, logits


def _score(shot: int, results: _Results) -> FewShotScore:
    return FewShotScore(
        shots=shot,
        draws=len(results.top1),
        **_interval("top1", results.top1),
        **_interval("mean_per_class", results.mean_per_class),
    )


def _interval(name: str, values: Sequence[float]) -> dict[str, float]:
    centre = mean(values)
    half = student_t_quantile(0.975, len(values) - 1) * sd(values) / len(values) ** 0.5
    return {name: centre, f"{name}_low": max(0.0, centre - half), f"{name}_high": min(1.0, centre + half)}
