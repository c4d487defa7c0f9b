"""Weighted nearest neighbours by cosine similarity, their number chosen on validation.

An image's score for a class is the log of the sum, over its k most similar training images that are of the class, of
exp(similarity / temperature) (Wu et al. 2018, as in DINO): softmax of the scores is the share of the votes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...common.progress import Progress, Throttle
from ...schema import Protocol, RunError, Trial
from .choice import choose, scored
from .data import Fitted, Labels, Logits, ProbeData
from .rows import Rows

_QUERIES = 1024  # images whose neighbours are looked for at a time
_NO_VOTE = 1e-8  # a class's share of the votes where it has none, so that its score is finite


def fit_seeds(
    data: ProbeData,
    protocol: Protocol,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Fitted | RunError]:
    """Classify once, for all seeds: nothing depends on one."""
    started = time.perf_counter()
    counts, temperature = protocol.settings.neighbours.k, protocol.settings.neighbours.temperature
    report = Throttle(progress, 2)
    trials: tuple[Trial, ...] = ()
    chosen, count = None, counts[0]
    if len(counts) > 1:
        mask = data.fitted
        bank, labels = data.x.where(mask), data.y[mask]
        found = neighbours(bank, labels, data.x.where(~mask), max(counts), device)
        trials = tuple(
            scored(
                Trial(settings={"k": k}),
                votes(*found, k, temperature, data.num_classes),
                data.y[~mask],
                data.num_classes,
            )
            for k in counts
            if k <= len(labels) or k == counts[0]
        )
        chosen = choose(trials, data.metric)
        count = chosen.settings["k"]
    report.advance(1)
    found = neighbours(data.x, data.y, Rows([data.x_test]), count, device)
    logits = votes(*found, count, temperature, data.num_classes)
    report.advance(1)
    one = Fitted(logits, 0.0, len(data.y), chosen, trials)
    return [replace(one, seconds=(time.perf_counter() - started) / len(seeds)) for _ in seeds]


def neighbours(bank: Rows, labels: Labels, queries: Rows, count: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Return similarities and classes (m, k) of each query's most similar rows of the bank, the most similar first.

    Both are read in chunks: similarities to the whole bank are never held at once. Of equally similar rows the earlier
    comes first.
    """
    classes = torch.from_numpy(labels).to(device)
    count = min(count, len(labels))
    similar = torch.empty(len(queries), count, device=device)
    kinds = torch.empty(len(queries), count, dtype=torch.int64, device=device)
    for at, part in queries.chunks(device, _QUERIES):
        query = normalize(part, dim=1)
        best = torch.empty(len(part), 0, device=device)
        index = torch.empty(len(part), 0, dtype=torch.int64, device=device)
        for rows, features in bank.chunks(device):
            now = query @ normalize(features, dim=1).T
            numbers = torch.arange(rows.start, rows.stop, device=device).expand(len(part), -1)
            best, index = _top(torch.cat([best, now], 1), torch.cat([index, numbers], 1), count)
        similar[at], kinds[at] = best, classes[index]
    return similar, kinds


def _top(values: Tensor, numbers: Tensor, count: int) -> tuple[Tensor, Tensor]:
    top, where = torch.topk(values, min(count, values.shape[1]), dim=1)
    numbers = numbers.gather(1, where)
    order = torch.argsort(numbers, dim=1)
    top, numbers = top.gather(1, order), numbers.gather(1, order)
    order = torch.argsort(top, dim=1, descending=True, stable=True)
    return top.gather(1, order), numbers.gather(1, order)


def votes(similar: Tensor, kinds: Tensor, count: int, temperature: float, num_classes: int) -> Logits:
    """Return the log share of votes (m, C) of the first ``count`` neighbours."""
    nearest = similar[:, :count].double()
    weight = torch.softmax(nearest / temperature, dim=1)
    share = torch.zeros(len(similar), num_classes, dtype=torch.float64, device=similar.device)
    for kind, own in zip(kinds[:, :count].split(1, 1), weight.split(1, 1), strict=True):
        share.scatter_add_(1, kind, own)  # one vote of each query: a GPU adds several of a class in any order
    logits: np.ndarray = share.clamp_min(_NO_VOTE).log().float().cpu().numpy()
    return logits
