"""Softmax regression by SGD with momentum, on features in memory, many heads at once.

The gradient is written by hand. With features extended by a one, X = [x, 1], and W = [weight, bias], a step on a batch
of B images is P = softmax(W X^T) - onehot(y), M <- mu M + (P X) / B + lambda W, W <- W - lr M: what torch.optim.SGD
does to nn.Linear under cross-entropy (weight decay on the bias too, no Nesterov), without autograd, its allocations and
a loader.

Heads that train together are a stack. The points of a grid share a seed's batches, so the classes of all its points are
the rows of one product. Seeds have batches of their own; how many of them one call multiplies is :func:`lanes`. It
depends on the shapes, the device and the number of threads, never on how many seeds train together: the last call is
filled up by training a seed twice. So every product of a seed is computed in a call of one shape, and a seed's bits
don't depend on the seeds beside it. For the same reason softmax and additions are computed seed by seed: threads share
one of all seeds at places that depend on how many these are, and what is left over from whole vectors there is rounded
differently. And every batch has the same shape, a whole number of vectors: where images are missing its rows of X are
zero, the one included, and add nothing to M.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from ...common.progress import Progress, Throttle, part
from ...schema import InputError, Protocol, RunError
from .base import LinearHead, default_linear, generator
from .rows import Gatherer, Rows

_CHUNK_BYTES = 2**24  # of permuted features held at a time: some batches, gathered by all threads together
_STACK_BYTES = 2**22  # of weights and momentum of a stack, if that is more than one call: what a core's cache holds
_ALIGN = 16  # columns and batches are padded to a multiple of this: odd row lengths slow matrix products down
_SMALL = 2**20  # multiply-adds of a product below which threads do better with one product each than with a share of it
_LANES = 8  # the most products in one call, and the number of them on a GPU, where small products take no longer
_CALL_BYTES = 2**28  # of weights and momentum in one call: bounds the memory of a large grid


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
        A head for each seed and point; where its weights stopped being finite, the :class:`RunError` that says so. A
        seed's heads have the same bits whatever seeds are fitted with it. A point's head is what it is without the
        other points to rounding alone (1e-4 of the weights).

    Raises
    ------
    InputError
        If a label is no class.
    """
    if y.min() < 0 or y.max() >= num_classes:
        raise InputError(f"labels run from {y.min()} to {y.max()}", f"{num_classes} classes are 0 to {num_classes - 1}")
    source, labels = x.on(torch.device(device)), torch.from_numpy(np.ascontiguousarray(y)).to(device)
    chosen = None if rows is None else torch.from_numpy(rows)
    shape = (len(points) * num_classes, _padded(x.dimension + 1))
    width = lanes(*shape, _padded(min(points[0].batch_size, len(y) if rows is None else len(rows))), labels.device)
    together = max(1, _STACK_BYTES // (8 * shape[0] * shape[1] * width)) * width
    fitted: list[list[LinearHead | RunError]] = []
    for first in range(0, len(seeds), together):
        some = seeds[first : first + together]
        report = None if progress is None else part(progress, first / len(seeds), (first + len(some)) / len(seeds))
        if len(some) == len(seeds):
            report = progress
        filled = [*some, *[some[-1]] * (-len(some) % width)]
        stack = _Stack(source, labels, x.dimension, num_classes, points, filled, chosen, width)
        fitted += stack.run(report)[: len(some)]
    return fitted


def lanes(rows: int, columns: int, batch: int, device: torch.device) -> int:
    """Return how many seeds one call multiplies.

    On a CPU, products that are too small to be shared by threads are computed as many at a time as there are threads;
    others one by one, each by all threads. On a GPU there are always several, as many as memory allows.

    Parameters
    ----------
    rows, columns : int
        Of a seed's weights.
    batch : int
        Images.
    device : torch.device
        Where they are computed.
    """
    if device.type == "cpu":
        return min(torch.get_num_threads(), _LANES) if rows * columns * batch <= _SMALL else 1
    return max(1, min(_LANES, _CALL_BYTES // (8 * rows * columns)))


def _padded(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN


class _Stack:
    """The state of heads that step together: weights and momentum (S, P C, columns).

    Buffers and their views are made once, as making them takes longer than some of the work. Those of logits and errors
    are (S, P, C, B): images lie side by side, so that vectors are full whatever the number of classes.
    """

    def __init__(
        self,
        source: Gatherer,
        labels: Tensor,
        dimension: int,
        num_classes: int,
        points: Sequence[Protocol],
        seeds: Sequence[int],
        rows: Tensor | None,
        width: int,
    ) -> None:
        self._source, self._labels, self._dimension, self._classes = source, labels, dimension, num_classes
        self._points, self._seeds, self._rows, self._width = points, seeds, rows, width
        self._count = len(labels) if rows is None else len(rows)
        self._size = min(points[0].batch_size, self._count)
        length = _padded(self._size)  # of a batch, with its rows of zeros
        device, columns = labels.device, _padded(dimension + 1)
        self.weights = torch.zeros(len(seeds), len(points) * num_classes, columns, device=device)
        for stack, seed in zip(self.weights, seeds, strict=True):
            weight, bias = default_linear(num_classes, dimension, seed)
            for head in stack.split(num_classes):
                head[:, :dimension] = weight
                head[:, dimension] = bias
        self.momentum = torch.zeros_like(self.weights)
        chunk = 4 * columns * length * len(seeds)  # bytes of a batch of all seeds
        batches = min(-(-self._count // self._size), max(1, _CHUNK_BYTES // chunk))
        self._x = torch.zeros(batches, len(seeds), length, columns, device=device)
        self._minus_one = torch.full((len(seeds), len(points), 1, length), -1.0, device=device)
        logits, errors = (self.weights.new_empty(*self.weights.shape[:2], length) for _ in range(2))
        by_head = (len(seeds), len(points), num_classes, length)
        self._errors = errors.view(by_head)
        self._softmax = list(zip(logits.view(by_head), self._errors, strict=True))
        self._forward = [self._calls(logits, self.weights, x.transpose(1, 2)) for x in self._x]
        self._backward = [self._calls(self.momentum, errors, x) for x in self._x]

    def _calls(self, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
        """Split the seeds into those of each call."""
        return list(zip(*(tensor.split(self._width) for tensor in tensors), strict=True))

    @torch.inference_mode()
    def run(self, progress: Progress | None) -> list[list[LinearHead | RunError]]:
        """Train all heads to the end."""
        epochs = self._points[0].epochs
        orders = [generator(seed, "order") for seed in self._seeds]
        ended: dict[tuple[int, int], int] = {}  # (seed's place, point) to the epoch it diverged in
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
        """Take one step per batch, in each seed's order (S, n) of images."""
        keep = self._points[0].momentum
        decay = self._factor([point.weight_decay for point in self._points])
        rate = self._factor([-point.lr_at(epoch) for point in self._points])
        weights, momentum = list(self.weights), list(self.momentum)
        for k, labels, count in self._gathered(order):
            for logits, weight, x in self._forward[k]:
                logits.baddbmm_(weight, x, beta=0)
            for logits, errors in self._softmax:
                torch.softmax(logits, 1, out=errors)
            self._errors.scatter_add_(2, labels, self._minus_one)
            for state, errors, x in self._backward[k]:
                state.baddbmm_(errors, x, beta=keep, alpha=1 / count)
            _add(momentum, weights, decay)
            _add(weights, momentum, rate)

    def _factor(self, values: list[float]) -> float | Tensor:
        """Return one number for all points, or a column (P C, 1) where they differ."""
        if len(set(values)) == 1:
            return values[0]
        return torch.tensor(values, device=self.weights.device).repeat_interleave(self._classes).unsqueeze(1)

    def _gathered(self, order: Tensor) -> Iterator[tuple[int, Tensor, int]]:
        """Yield for each batch of an epoch where its features are, its labels (S, P, 1, B) and its number of images.

        The features of some batches are gathered at once. Where images are missing, image 0 is, and zeroed.
        """
        length = self._x.shape[2]
        order = pad(order.to(self._labels.device), (0, -self._count % self._size)).unflatten(1, (-1, self._size))
        index = pad(order, (0, length - self._size)).transpose(0, 1).contiguous()  # (batches, S, B)
        counts = [min(self._size, self._count - first) for first in range(0, self._count, self._size)]
        self._x[:, :, : self._size, self._dimension] = 1.0
        for first in range(0, len(counts), len(self._x)):
            some = index[first : first + len(self._x)]
            self._source.take(some.view(-1), self._x.view(-1, self._x.shape[3])[: some.numel(), : self._dimension])
            labels = self._labels[some][:, :, None, None].expand(-1, -1, len(self._points), 1, -1)
            for k, count in enumerate(counts[first : first + len(some)]):
                if count < length:
                    self._x[k, :, count:] = 0.0
                yield k, labels[k], count

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


def _add(targets: list[Tensor], others: list[Tensor], factor: float | Tensor) -> None:
    """Add ``factor * other`` to each seed's target."""
    if isinstance(factor, Tensor):
        torch._foreach_addcmul_(targets, others, [factor] * len(targets))
    elif factor:
        torch._foreach_add_(targets, others, alpha=factor)
