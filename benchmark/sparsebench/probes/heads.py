"""Softmax regression by SGD with momentum, on features in memory, many heads at once.

The gradient is written by hand. With features extended by a one, X = [x, 1], and W = [weight, bias], a step on a batch
of B images is P = softmax(W X^T) - onehot(y), M <- mu M + (P X) / B + lambda W, W <- W - lr M: what torch.optim.SGD
does to nn.Linear under cross-entropy (weight decay on the bias too, no Nesterov), without autograd, its allocations and
a loader. See momentum.py for what follows the product.

Heads are stacked: a seed's learning rates and weight decays share its batches, so their classes stand side by side in
one product; seeds, each with its own order, are a batch of products. Every seed keeps its own order and start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..progress import Progress, Throttle, part
from ..schema import InputError, Protocol, RunError
from .base import LinearHead, default_linear, generator
from .momentum import momentum
from .rows import Gatherer, Rows

_CHUNK_BYTES = 2**24  # of permuted features held at a time: some batches, gathered by all threads together
_STACK_BYTES = 2**28  # of weights and momentum stepped together: bounds the memory of a large grid
_ALIGN = 16  # columns are padded to a multiple of this with zeros: odd row lengths slow matrix products down


def fit_heads(
    x: Rows,
    y: npt.NDArray[np.int64],
    num_classes: int,
    points: Sequence[Protocol],
    seeds: Sequence[int],
    *,
    rows: npt.NDArray[np.int64] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[list[LinearHead | RunError]]:
    """Fit a head for each seed and each of the points of a grid, stacked into as few programs as is quick.

    Parameters
    ----------
    x : Rows
        Features (n, d); gathered from where they lie.
    y : ndarray of int64, shape (n,)
        Class indices below ``num_classes``.
    num_classes : int
        Classes of the task, C.
    points : sequence of Protocol
        They differ in ``lr`` and ``weight_decay`` alone.
    seeds : sequence of int
        Of the initial weights and the orders.
    rows : ndarray of int64, optional
        The rows to train on; all without it.
    device : str
        Where to compute; the features must fit there.
    progress : callable, optional
        ``progress(epochs done, epochs)``.

    Returns
    -------
    list of lists
        A head for each seed and point; where its weights stopped being finite, the :class:`RunError` that says so. To
        rounding (1e-4 of the weights) it is what it is alone: products may be summed in another order.

    Raises
    ------
    InputError
        If a label is no class.
    """
    if y.min() < 0 or y.max() >= num_classes:
        raise InputError(f"labels run from {y.min()} to {y.max()}", f"{num_classes} classes are 0 to {num_classes - 1}")
    source, labels = x.on(torch.device(device)), torch.from_numpy(np.ascontiguousarray(y)).to(device)
    chosen = None if rows is None else torch.from_numpy(rows)
    size = 8 * len(points) * num_classes * (x.dimension + 1)
    together = max(1, _STACK_BYTES // size)
    fitted: list[list[LinearHead | RunError]] = []
    for first in range(0, len(seeds), together):
        some = seeds[first : first + together]
        report = None if progress is None else part(progress, first / len(seeds), (first + len(some)) / len(seeds))
        if len(some) == len(seeds):
            report = progress
        stack = _Stack(source, labels, x.dimension, num_classes, points, some, chosen)
        fitted += stack.run(report)
    return fitted


@dataclass(frozen=True)
class _Batch:
    """Where a batch is computed: views of buffers, made once, as making them takes longer than some of the work."""

    logits: Tensor  # (S, P, C, B): images lie side by side, so that vectors are full whatever the number of classes
    errors: Tensor
    forward: list[tuple[Tensor, ...]]  # logits, weights, x^T of seeds whose products are one call
    backward: list[tuple[Tensor, ...]]  # momentum, errors, x


class _Stack:
    """The state of heads that step together and its buffers, allocated once: weights (S, P C, columns)."""

    def __init__(
        self,
        source: Gatherer,
        labels: Tensor,
        dimension: int,
        num_classes: int,
        points: Sequence[Protocol],
        seeds: Sequence[int],
        rows: Tensor | None,
    ) -> None:
        self._source, self._labels, self._dimension, self._classes = source, labels, dimension, num_classes
        self._points, self._seeds, self._rows = points, seeds, rows
        self._count = len(labels) if rows is None else len(rows)
        self._size = min(points[0].batch_size, self._count)
        device = labels.device
        columns = -(-(dimension + 1) // _ALIGN) * _ALIGN
        self.weights = torch.zeros(len(seeds), len(points) * num_classes, columns, device=device)
        for stack, seed in zip(self.weights, seeds, strict=True):
            weight, bias = default_linear(num_classes, dimension, seed)
            for head in stack.split(num_classes):
                head[:, :dimension] = weight
                head[:, dimension] = bias
        self._momentum = momentum(self.weights, points)
        length = len(seeds) * self._size  # rows of one batch of all seeds
        together = min(self._count // self._size, max(1, _CHUNK_BYTES // (4 * columns * length)))
        self._chunk = torch.zeros(together * length, columns, device=device)
        self._chunk[:, dimension] = 1.0
        self._batches = {self._size: self._views(self._chunk, self._size)}
        if rest := self._count % self._size:
            self._batches[rest] = self._views(self._chunk[: len(seeds) * rest], rest)
        self._minus_one = torch.full((len(seeds), len(points), 1, self._size), -1.0, device=device)

    def _views(self, rows: Tensor, size: int) -> list[_Batch]:
        """Return the batches of a size whose features are gathered into rows of the chunk."""
        logits, errors = (self.weights.new_empty(*self.weights.shape[:2], size) for _ in range(2))
        by_head = (len(self._seeds), len(self._points), self._classes, size)
        return [
            _Batch(
                logits.view(by_head),
                errors.view(by_head),
                self._shares(logits, self.weights, x.transpose(1, 2)),
                self._shares(self._momentum.state, errors, x),
            )
            for x in rows.view(-1, len(self._seeds), size, rows.shape[1])
        ]

    def _shares(self, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
        """Split the seeds into as many as threads share evenly, each the products of its own, and what is left."""
        seeds, threads = len(self._seeds), torch.get_num_threads() if self.weights.device.type == "cpu" else 1
        return list(zip(*(tensor.split(seeds // threads * threads or seeds) for tensor in tensors), strict=True))

    @torch.inference_mode()
    def run(self, progress: Progress | None) -> list[list[LinearHead | RunError]]:
        """Train all heads to the end."""
        epochs = self._points[0].epochs
        orders = [generator(seed, "order") for seed in self._seeds]
        ended: dict[tuple[int, int], int] = {}  # (seed, point) to the epoch it diverged in
        heads, report = len(self._seeds) * len(self._points), Throttle(progress, epochs)
        for epoch in range(epochs):
            order = torch.stack([torch.randperm(self._count, generator=source) for source in orders])
            self._epoch(order if self._rows is None else self._rows[order], epoch)
            weights = self.weights.view(len(self._seeds), len(self._points), -1)
            finite = torch.isfinite(weights.amin(2)) & torch.isfinite(weights.amax(2))
            for s, p in (~finite).nonzero().tolist():
                ended.setdefault((s, p), epoch)
            if len(ended) == heads:
                break
            report.advance(1)
        return [
            [self._head(s, p, ended.get((s, p))) for p in range(len(self._points))] for s in range(len(self._seeds))
        ]

    def _epoch(self, order: Tensor, epoch: int) -> None:
        """Take one step a batch, in each seed's order (S, n) of images."""
        self._momentum.begin(epoch)
        keep, gain = self._momentum.keep, self._momentum.gain
        for batch, labels in self._gathered(order):
            for logits, weights, x in batch.forward:
                logits.baddbmm_(weights, x, beta=0, alpha=self._momentum.scale)
            torch.softmax(batch.logits, 2, out=batch.errors)
            count = labels.shape[3]
            batch.errors.scatter_add_(2, labels, self._minus_one[..., :count])
            for state, errors, x in batch.backward:
                state.baddbmm_(errors, x, beta=keep, alpha=gain / count)
            self._momentum.move()
        self._momentum.end()

    def _gathered(self, order: Tensor) -> Iterator[tuple[_Batch, Tensor]]:
        """Yield the batches of an epoch and their labels (S, P, 1, B); the features of some are gathered at once."""
        order = order.to(self._labels.device)
        whole = self._count // self._size
        batches = order[:, : whole * self._size].unflatten(1, (whole, self._size)).transpose(0, 1)
        rest = order[None, :, whole * self._size :]
        for index in (*batches.split(len(self._batches[self._size])), *([rest] if rest.numel() else [])):
            self._source.take(index.reshape(-1), self._chunk[: index.numel(), : self._dimension])
            labels = self._labels[index][:, :, None, None].expand(-1, -1, len(self._points), 1, -1)
            yield from zip(self._batches[index.shape[2]], labels, strict=False)

    def _head(self, s: int, p: int, diverged: int | None) -> LinearHead | RunError:
        if diverged is not None:
            point = self._points[p]
            return RunError(
                f"the linear classifier diverged in epoch {diverged} of {point.epochs} (seed {self._seeds[s]}, "
                f"learning rate {point.lr_at(diverged):g})",
                "try a lower learning rate, or check the scale of the features",
            )
        weights = self.weights[s, p * self._classes : (p + 1) * self._classes].cpu().numpy()
        return LinearHead(weights[:, : self._dimension].copy(), weights[:, self._dimension].copy())
