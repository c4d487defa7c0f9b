"""L-BFGS for softmax regression with an L2 penalty, warm from one penalty to the next.

The objective at weights V (C, D) is f(V) = mean cross-entropy + l2 / 2 |V|^2. As logits are linear in V, a line search
costs no product with the features: one iteration is one product for the logits of its direction and one for the
gradient. Curvature pairs are kept for the cross-entropy alone and the penalty's exact share is added when they are
used, so they hold for the next penalty too.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from .rotation import RotatedFeatures, Rotation
from .softmax import CrossEntropy

TOLERANCE = 1e-6
"""A fit ends when the objective is estimated to be within this fraction of its minimum; it is then within 1e-4."""
PATH_TOLERANCE = 1e-5
"""The same for the fits that are only compared on validation."""
MAX_ITERATIONS = 500
MEMORY = 10
_DECREASE, _CURVATURE, _TRIES = 1e-4, 0.9, 20
_WINDOW, _SLACK = 5, 10
"""The last steps together must have gained no more than so many tolerances: one estimate alone may be far too small."""


@dataclass(frozen=True)
class Optimum:
    """Where a fit ended: its objective, iterations, and whether it is within the tolerance."""

    objective: float
    iterations: int
    converged: bool


class SoftmaxRegression:
    """Weights that move from one minimum to the next.

    Parameters
    ----------
    features : RotatedFeatures
        The matrix (n, D) that logits are linear in.
    rotation : Rotation
        Its eigenvalues precondition.
    loss : CrossEntropy
        Of n rows.
    num_classes : int
        C.
    """

    def __init__(self, features: RotatedFeatures, rotation: Rotation, loss: CrossEntropy, num_classes: int) -> None:
        self.features, self.loss = features, loss
        self._spectrum = rotation.values / num_classes
        device = features.device
        self.weights = torch.zeros(num_classes, features.dimension, device=device)
        self.logits = torch.zeros(len(features), num_classes, device=device)
        self._change = torch.empty_like(self.logits)
        self._pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=MEMORY)
        self._gradient: Tensor | None = None  # of the cross-entropy alone, at the present weights

    @property
    def largest(self) -> float:
        """A penalty at which the weights are nearly zero: the largest eigenvalue of the preconditioner's Hessian."""
        return float(self._spectrum.max())

    def start(self, weights: Tensor) -> None:
        """Move to other weights (C, D)."""
        self.weights.copy_(weights)
        self.features.logits(self.weights, self.logits)
        self._pairs.clear()
        self._gradient = None

    def minimise(self, l2: float, *, tolerance: float = TOLERANCE, max_iterations: int = MAX_ITERATIONS) -> Optimum:
        """Go to the minimum for a penalty of the mean loss, from the present weights.

        It ends when half the Newton decrement, as L-BFGS estimates it, is below ``tolerance`` times the objective and
        the last few steps gained little more, or when single precision can't make the objective smaller.
        """
        scale = 1 / (self._spectrum + l2)
        scale = scale.to(self.weights.dtype)
        value = self.loss.loss(self.logits) + self._penalty(l2)
        gradient = self._cross_entropy_gradient()
        recent = deque([value], maxlen=_WINDOW + 1)  # objectives
        for iteration in range(max_iterations):
            full = torch.add(gradient, self.weights, alpha=l2)
            direction = self._direction(full, scale, l2)
            slope = _dot(full, direction)
            settled = recent[0] - value <= _SLACK * tolerance * value
            if -slope / 2 <= tolerance * value and settled:
                return Optimum(value, iteration, True)
            self.features.logits(direction, self._change)
            step, lower = self._search(direction, l2, value, slope)
            if step == 0.0:
                if not self._pairs:
                    return Optimum(value, iteration, -slope / 2 <= 100 * tolerance * value)
                self._pairs.clear()
                continue
            self.weights.add_(direction, alpha=step)
            self.logits.add_(self._change, alpha=step)
            value, before = lower, gradient
            recent.append(value)
            gradient = self._cross_entropy_gradient(renew=True)
            self._pairs.append((direction.mul_(step), gradient - before))
        return Optimum(value, max_iterations, False)

    def _penalty(self, l2: float) -> float:
        return l2 / 2 * _dot(self.weights, self.weights)

    def _cross_entropy_gradient(self, *, renew: bool = False) -> Tensor:
        if self._gradient is None or renew:
            errors = self._change  # free between two directions
            self.loss.errors(self.logits, errors)
            self._gradient = self.features.gradient(errors)
        return self._gradient

    def _direction(self, gradient: Tensor, scale: Tensor, l2: float) -> Tensor:
        """Return minus the L-BFGS estimate of the inverse Hessian times the gradient (two-loop recursion)."""
        q = gradient.clone()
        used = []
        for moved, bent in reversed(self._pairs):
            curved = torch.add(bent, moved, alpha=l2)
            rho = 1 / _dot(moved, curved)
            if not (math.isfinite(rho) and rho > 0):
                continue
            factor = rho * _dot(moved, q)
            q.add_(curved, alpha=-factor)
            used.append((moved, curved, rho, factor))
        if used:
            _, curved, rho, _ = used[0]
            q.mul_(1 / (rho * _dot(curved * scale, curved)))
        q.mul_(scale)
        for moved, curved, rho, factor in reversed(used):
            q.add_(moved, alpha=factor - rho * _dot(curved, q))
        return q.neg_()

    def _search(self, direction: Tensor, l2: float, value: float, slope: float) -> tuple[float, float]:
        """Return a step that satisfies the weak Wolfe conditions, and the objective there; a step of 0 without any."""
        across, square = _dot(self.weights, direction), _dot(direction, direction)
        penalty = self._penalty(l2)
        low, high, step = 0.0, math.inf, 1.0
        best = (0.0, value)
        for _ in range(_TRIES):
            loss, derivative = self.loss.along(self.logits, self._change, step)
            now = loss + penalty + l2 * (step * across + step * step / 2 * square)
            derivative += l2 * (across + step * square)
            if not now <= value + _DECREASE * step * slope:  # also where it is NaN
                high = step
            elif derivative < _CURVATURE * slope:
                low = step
                best = (step, now)
            else:
                return step, now
            step = 2 * low if math.isinf(high) else (low + high) / 2
        return best


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.flatten(), b.flatten()))
