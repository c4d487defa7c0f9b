"""L-BFGS for softmax regression with an L2 penalty, warm from one penalty to the next.

The objective at weights V (C, D) is f(V) = mean cross-entropy + l2 / 2 |V|^2. As logits are linear in V, a line search
costs no product with the features: one iteration is one product for the logits of its direction and one for the
gradient. Curvature pairs are kept for the cross-entropy alone and the penalty's exact share is added when they are
used, so they hold for the next penalty too. The first step to a minimum goes on along the line through the two before:
they are nearly on one line as functions of the log penalty.
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
_WINDOW, _SLACK = 3, 3
"""The last steps together must have gained no more than so many tolerances: one estimate alone may be far too small."""


@dataclass(frozen=True)
class Optimum:
    """Where a fit ended: its objective, iterations, and whether it is within the tolerance.

    ``decrement`` is half the Newton decrement, as L-BFGS estimates it: about how far above the minimum the fit ended.
    """

    objective: float
    iterations: int
    converged: bool
    decrement: float = 0.0


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
        self._values, self._classes = rotation.values, num_classes
        device = features.device
        self.weights = torch.zeros(num_classes, features.dimension, device=device)
        self.logits = torch.zeros(len(features), num_classes, device=device)
        self._change = torch.empty_like(self.logits)
        self._pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=MEMORY)
        self._gradient: Tensor | None = None  # of the cross-entropy alone, at the present weights
        self._spread = 0.0  # mean of p (1 - p), there too
        self._trail: list[tuple[float, Tensor]] = []  # the last two minima, and their log penalties

    @property
    def largest(self) -> float:
        """A penalty at which the weights are nearly zero: the Hessian's largest eigenvalue at zero weights, about."""
        return float(self._values.max()) / self._classes

    def start(self, weights: Tensor) -> None:
        """Move to other weights (C, D)."""
        self.weights.copy_(weights)
        self.features.logits(self.weights, self.logits)
        self._pairs.clear()
        self._trail.clear()
        self._gradient = None

    def minimise(self, l2: float, *, tolerance: float = TOLERANCE, max_iterations: int = MAX_ITERATIONS) -> Optimum:
        """Go to the minimum for a penalty of the mean loss, from the present weights.

        It ends when half the Newton decrement, as L-BFGS estimates it, is below ``tolerance`` times the objective and
        the last few steps gained little more, or when single precision can't make the objective smaller.
        """
        value = self._onward(l2, self.loss.loss(self.logits) + self._penalty(l2))
        recent = deque([value], maxlen=_WINDOW + 1)  # objectives
        for iteration in range(max_iterations):
            gradient = self._cross_entropy_gradient()
            full = torch.add(gradient, self.weights, alpha=l2)
            direction = self._direction(full, l2)
            slope = _dot(full, direction)
            near = -slope / 2 <= tolerance * value
            if near and len(recent) > 1 and recent[0] - value <= _SLACK * tolerance * value:
                return self._ended(l2, Optimum(value, iteration, True, -slope / 2))
            lower = self._advance(direction, l2, value, slope)
            if lower is None:
                if near or not self._pairs:
                    converged = -slope / 2 <= 100 * tolerance * value
                    return self._ended(l2, Optimum(value, iteration, converged, -slope / 2))
                self._pairs.clear()
                continue
            value = lower
            recent.append(value)
        return self._ended(l2, Optimum(value, max_iterations, False))

    def _ended(self, l2: float, optimum: Optimum) -> Optimum:
        """Keep the weights that a fit ended with, for the next one to go on from."""
        self._trail = [*self._trail[-1:], (math.log(l2), self.weights.clone())]
        return optimum

    def _onward(self, l2: float, value: float) -> float:
        """Go on along the line through the last two minima, by log penalty, if it leads down; return the objective."""
        if len(self._trail) < 2 or self._trail[0][0] == self._trail[1][0]:
            return value
        (first, start), (second, end) = self._trail
        direction = (end - start).mul_((math.log(l2) - second) / (second - first))
        slope = _dot(torch.add(self._cross_entropy_gradient(), self.weights, alpha=l2), direction)
        if not slope < 0:
            return value
        lower = self._advance(direction, l2, value, slope)
        return value if lower is None else lower

    def _advance(self, direction: Tensor, l2: float, value: float, slope: float) -> float | None:
        """Take a step along a direction, which is overwritten; return the objective there, or None where no step is."""
        before = self._cross_entropy_gradient()
        self.features.logits(direction, self._change)
        step, lower = self._search(direction, l2, value, slope)
        if step == 0.0:
            return None
        self.weights.add_(direction, alpha=step)
        self.logits.add_(self._change, alpha=step)
        self._gradient = None
        self._pairs.append((direction.mul_(step), self._cross_entropy_gradient() - before))
        return lower

    def _penalty(self, l2: float) -> float:
        return l2 / 2 * _dot(self.weights, self.weights)

    def _cross_entropy_gradient(self) -> Tensor:
        if self._gradient is None:
            errors = self._change  # free between two directions
            self._spread = self.loss.errors(self.logits, errors)
            self._gradient = self.features.gradient(errors)
        return self._gradient

    def _direction(self, gradient: Tensor, l2: float) -> Tensor:
        """Return minus the L-BFGS estimate of the inverse Hessian times the gradient (two-loop recursion)."""
        scale = (1 / (self._spread * self._values + l2)).to(gradient.dtype)
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
