"""Softmax regression by SGD with momentum, on features in memory, many heads at once.

The gradient is written by hand. With features extended by a one, X = [x, 1], and W = [weight, bias], a step on a batch
of B images is P = softmax(X W^T) - onehot(y), M <- mu M + (P^T X) / B + lambda W, W <- W - lr M: what torch.optim.SGD
does to nn.Linear under cross-entropy (weight decay on the bias too, no Nesterov), without autograd, its allocations and
a loader.

Heads are stacked: a seed's learning rates and weight decays share its batches, so their classes stand side by side in
one product; seeds, each with its own order, are a batch of products. Every seed keeps its own order and start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..progress import Progress, Throttle, part
from ..schema import InputError, Protocol, RunError
from .base import LinearHead, default_linear, generator
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
        device = labels.device
        columns = -(-(dimension + 1) // _ALIGN) * _ALIGN
        stacked, self._batch = len(points) * num_classes, points[0].batch_size
        size = 4 * columns * self._batch * len(seeds)
        length = min(self._count, max(1, _CHUNK_BYTES // size) * self._batch)
        self._chunk = torch.zeros(len(seeds), length, columns, device=device)
        self._chunk[:, :, dimension] = 1.0
        sizes = {min(self._batch, self._count), self._count % self._batch or self._batch}
        shape = {size: (len(seeds), size, stacked) for size in sizes}
        self._logits = {size: torch.empty(shape[size], device=device) for size in sizes}
        self._errors = {size: torch.empty(shape[size], device=device) for size in sizes}
        self._minus_one = torch.full((len(seeds), self._batch, len(points), 1), -1.0, device=device)
        self.weights = torch.zeros(len(seeds), stacked, columns, device=device)
        self._momentum = torch.zeros_like(self.weights)
        for stack, seed in zip(self.weights, seeds, strict=True):
            weight, bias = default_linear(num_classes, dimension, seed)
            for head in stack.split(num_classes):
                head[:, :dimension] = weight
                head[:, dimension] = bias

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
            finite = torch.isfinite(self.weights).view(len(self._seeds), len(self._points), -1).all(2)
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
        momentum, weights, transposed = self._momentum, self.weights, self.weights.transpose(1, 2)
        mu = self._points[0].momentum
        decay = self._factor([point.weight_decay for point in self._points])
        rate = self._factor([-point.lr_at(epoch) for point in self._points])
        for x, y in self._batches(order):
            count = x.shape[1]
            logits, errors = self._logits[count], self._errors[count]
            by_head = (len(self._seeds), count, len(self._points), self._classes)
            if len(self._seeds) == 1:
                torch.mm(x[0], transposed[0], out=logits[0])
            else:
                torch.bmm(x, transposed, out=logits)
            torch.softmax(logits.view(by_head), 3, out=errors.view(by_head))
            errors.view(by_head).scatter_add_(3, y, self._minus_one[:, :count])
            if len(self._seeds) == 1:
                torch.addmm(momentum[0], errors[0].T, x[0], beta=mu, alpha=1.0 / count, out=momentum[0])
            else:
                momentum.baddbmm_(errors.transpose(1, 2), x, beta=mu, alpha=1.0 / count)
            _add(momentum, weights, decay)
            _add(weights, momentum, rate)

    def _factor(self, values: list[float]) -> float | Tensor:
        """Return one number for all points, or a column (P C, 1) where they differ."""
        if len(set(values)) == 1:
            return values[0]
        return torch.tensor(values, device=self.weights.device).repeat_interleave(self._classes).unsqueeze(1)

    def _batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, (S, B, columns) and (S, B, P, 1), slices of chunks that are gathered whole."""
        points = len(self._points)
        for index in order.to(self._labels.device).split(self._chunk.shape[1], dim=1):
            chunk = self._chunk[:, : index.shape[1]]
            for rows, own in zip(chunk, index, strict=True):
                self._source.take(own, rows[:, : self._dimension])
            labels = self._labels[index][:, :, None, None].expand(-1, -1, points, 1)
            yield from zip(chunk.split(self._batch, 1), labels.split(self._batch, 1), strict=True)

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


def _add(target: Tensor, other: Tensor, factor: float | Tensor) -> None:
    """Add ``factor * other`` to ``target``."""
    if isinstance(factor, Tensor):
        target.addcmul_(other, factor)
    else:
        target.add_(other, alpha=factor)
