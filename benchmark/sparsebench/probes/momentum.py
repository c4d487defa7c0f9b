"""What is left of a step of SGD once a product has added the gradient: momentum, weight decay, and the weights' move.

With momentum M, gradient G, rate r and decay l a step is M <- mu M + G + l W, W <- W - r M: after the product mu M + G
two more passes over memory. One is enough for U = M + c W, if c is the small root of mu r c^2 + (1 - mu - r l) c + l:
U <- k (mu U + G), W <- (W - r U) / k, with k = 1 - c r, where the division waits in a factor beside W. It is the same
step. The root is real unless momentum and decay together make the weights swing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from ..schema import Protocol

_LEAST_SCALE = 0.5  # where the weights take up their factor, far above underflow


class Momentum(ABC):
    """A state beside the weights: a product leaves ``keep * state + gain * gradient`` there, and :meth:`move` the rest.

    Parameters
    ----------
    weights : Tensor, shape (S, P C, columns)
        Of S seeds and P points; within an epoch what counts is ``scale * weights``.
    points : sequence of Protocol
        They differ in ``lr`` and ``weight_decay`` alone.
    """

    keep: float
    gain: float
    scale: float = 1.0

    def __init__(self, weights: Tensor, points: Sequence[Protocol]) -> None:
        self.weights, self.points = weights, points
        self.state = torch.zeros_like(weights)

    @abstractmethod
    def begin(self, epoch: int) -> None:
        """Set the factors of an epoch."""

    @abstractmethod
    def move(self) -> None:
        """Decay and move the weights."""

    def end(self) -> None:
        """Leave the weights without a factor."""
        if self.scale != 1:
            self.weights.mul_(self.scale)
            self.scale = 1.0


class TwoPasses(Momentum):
    """Any rates and decays: the state is M."""

    def begin(self, epoch: int) -> None:
        """Set the factors of an epoch."""
        self.keep, self.gain = self.points[0].momentum, 1.0
        self._decay = self._factor([point.weight_decay for point in self.points])
        self._rate = self._factor([-point.lr_at(epoch) for point in self.points])

    def move(self) -> None:
        """Decay and move the weights."""
        _add(self.state, self.weights, self._decay)
        _add(self.weights, self.state, self._rate)

    def _factor(self, values: list[float]) -> float | Tensor:
        """Return one number for all points, or a column (P C, 1) where they differ."""
        if len(set(values)) == 1:
            return values[0]
        classes = self.weights.shape[1] // len(values)
        return torch.tensor(values, device=self.weights.device).repeat_interleave(classes).unsqueeze(1)


class OnePass(Momentum):
    """One rate and decay: the state is U."""

    def __init__(self, weights: Tensor, points: Sequence[Protocol]) -> None:
        super().__init__(weights, points)
        self._root = 0.0

    @staticmethod
    def possible(points: Sequence[Protocol]) -> bool:
        """Whether there is one point, and the root is real at all its rates."""
        point = points[0]
        rate = max((point.lr_at(epoch) for epoch in range(point.epochs)), default=0.0)
        return len(points) == 1 and sqrt(point.momentum) + sqrt(rate * point.weight_decay) < 1

    def begin(self, epoch: int) -> None:
        """Set the factors of an epoch; another rate has another root, but the same M."""
        (point,) = self.points
        mu, decay, self._rate = point.momentum, point.weight_decay, point.lr_at(epoch)
        linear = 1 - mu - self._rate * decay
        root = -2 * decay / (linear + sqrt(linear**2 - 4 * mu * self._rate * decay))
        if root != self._root:
            self.state.add_(self.weights, alpha=root - self._root)
        self._root, self.gain = root, 1 - root * self._rate
        self.keep = self.gain * mu

    def move(self) -> None:
        """Move the weights."""
        self.weights.add_(self.state, alpha=-self._rate / self.scale)
        self.scale /= self.gain
        if self.scale < _LEAST_SCALE:
            self.end()


def momentum(weights: Tensor, points: Sequence[Protocol]) -> Momentum:
    """Return the quickest momentum for weights."""
    return (OnePass if OnePass.possible(points) else TwoPasses)(weights, points)


def _add(target: Tensor, other: Tensor, factor: float | Tensor) -> None:
    """Add ``factor * other`` to ``target``."""
    if isinstance(factor, Tensor):
        target.addcmul_(other, factor)
    else:
        target.add_(other, alpha=factor)
