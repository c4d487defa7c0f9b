"""The published linear protocol: softmax regression by SGD with momentum, on features in memory.

The gradient is written by hand. With features extended by a one, X = [x, 1], and W = [weight, bias], a step on a batch
of B images is P = softmax(X W^T) - onehot(y), M <- mu M + (P^T X) / B + lambda W, W <- W - lr M: what torch.optim.SGD
does to nn.Linear under cross-entropy (weight decay on the bias too, no Nesterov), without autograd, its allocations and
a loader.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..progress import Progress, Throttle
from ..schema import InputError, Protocol, RunError
from .base import LinearHead, default_linear, generator

_CHUNK_BYTES = 2**20  # of permuted features held at a time: they are read from the cache they were written to
_ALIGN = 16  # columns are padded to a multiple of this with zeros: odd row lengths slow matrix products down


def fit(
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    num_classes: int,
    protocol: Protocol,
    seed: int,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> LinearHead:
    """Fit a linear classifier by the published SGD protocol.

    The seed's own generators draw the initial weights (as ``nn.Linear`` does) and a fresh permutation each epoch; the
    last, smaller batch of an epoch is kept. Nothing is shared between seeds, so a seed gives the same bits alone or
    with others.

    Parameters
    ----------
    x : ndarray of float32, shape (n, d)
        Features.
    y : ndarray of int64, shape (n,)
        Class indices below ``num_classes``.
    num_classes : int
        Classes of the task, C.
    protocol : Protocol
        Learning rates, momentum, weight decay, batch size, epochs.
    seed : int
        Of the initial weights and the order.
    device : str
        Where to compute; the features must fit there.
    progress : callable, optional
        ``progress(epochs done, epochs)``.

    Raises
    ------
    InputError
        If there are no images, or shapes or labels don't fit.
    RunError
        If the weights stop being finite.
    """
    _check(x, y, num_classes)
    problem = _Problem(x, y, num_classes, protocol, torch.device(device))
    problem.start(*default_linear(num_classes, x.shape[1], seed))
    order = generator(seed, "order")
    report = Throttle(progress, protocol.epochs)
    for epoch in range(protocol.epochs):
        problem.epoch(torch.randperm(len(x), generator=order), protocol.lr_at(epoch))
        if not bool(torch.isfinite(problem.weights).all()):
            raise RunError(
                f"the linear classifier diverged in epoch {epoch} of {protocol.epochs} (seed {seed}, "
                f"learning rate {protocol.lr_at(epoch):g})",
                "try a lower learning rate, or check the scale of the features",
            )
        report.advance(1)
    return problem.head()


def _check(x: npt.NDArray[np.float32], y: npt.NDArray[np.int64], num_classes: int) -> None:
    if x.ndim != 2 or y.shape != (len(x),) or len(x) == 0:
        raise InputError(f"features of shape {x.shape} and labels of shape {y.shape}", "give (n, d) and (n,), n > 0")
    if y.min() < 0 or y.max() >= num_classes:
        raise InputError(f"labels run from {y.min()} to {y.max()}", f"{num_classes} classes are 0 to {num_classes - 1}")


class _Problem:
    """The state of one fit and its buffers, allocated once."""

    def __init__(
        self,
        x: npt.NDArray[np.float32],
        y: npt.NDArray[np.int64],
        num_classes: int,
        protocol: Protocol,
        device: torch.device,
    ) -> None:
        self._protocol = protocol
        self._dimension = x.shape[1]
        self._x = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(device)
        self._y = torch.from_numpy(np.ascontiguousarray(y, dtype=np.int64)).to(device)
        columns = -(-(self._dimension + 1) // _ALIGN) * _ALIGN
        batch = protocol.batch_size
        rows = min(len(x), max(1, _CHUNK_BYTES // (4 * columns * batch)) * batch)
        self._chunk = torch.zeros(rows, columns, device=device)
        self._chunk[:, self._dimension] = 1.0
        self._logits = torch.empty(batch, num_classes, device=device)
        self._errors = torch.empty(batch, num_classes, device=device)
        self._minus_one = torch.full((batch, 1), -1.0, device=device)
        self.weights = torch.zeros(num_classes, columns, device=device)
        self._momentum = torch.zeros_like(self.weights)

    def start(self, weight: Tensor, bias: Tensor) -> None:
        """Set the initial weight (C, d) and bias (C,)."""
        self.weights[:, : self._dimension] = weight
        self.weights[:, self._dimension] = bias

    def epoch(self, order: Tensor, lr: float) -> None:
        """Take one step a batch, in the given order of images."""
        mu, decay = self._protocol.momentum, self._protocol.weight_decay
        weights, momentum, transposed = self.weights, self._momentum, self.weights.T
        for x, y in self._batches(order):
            count = len(x)
            logits, errors = self._logits[:count], self._errors[:count]
            torch.mm(x, transposed, out=logits)
            torch.softmax(logits, 1, out=errors)
            errors.scatter_add_(1, y, self._minus_one[:count])
            torch.addmm(momentum, errors.T, x, beta=mu, alpha=1.0 / count, out=momentum)
            momentum.add_(weights, alpha=decay)
            weights.add_(momentum, alpha=-lr)

    def _batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, (B, columns) and (B, 1), as slices of chunks that are permuted as a whole."""
        rows, batch = len(self._chunk), self._protocol.batch_size
        for index in order.to(self._x.device).split(rows):
            chunk = self._chunk[: len(index)]
            torch.index_select(self._x, 0, index, out=chunk[:, : self._dimension])
            labels = self._y[index].unsqueeze(1)
            yield from zip(chunk.split(batch), labels.split(batch), strict=True)

    def head(self) -> LinearHead:
        """Return the weights as they are."""
        weights = self.weights.cpu().numpy()
        return LinearHead(weights[:, : self._dimension].copy(), weights[:, self._dimension].copy())
