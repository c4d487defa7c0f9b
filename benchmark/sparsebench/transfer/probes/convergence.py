"""How far a linear head is from the best one: its objective and gradient against the minimum at its own penalty.

SGD with weight decay ``l`` on weights and bias goes down f(W) = mean cross-entropy + l / 2 |W|^2, bias included. f is
convex, so its minimum is one number, whatever the seed, learning rate and epochs; :func:`least` finds it by L-BFGS.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from ...schema import Convergence
from .base import LinearHead
from .quasi_newton import Optimum, SoftmaxRegression
from .rotation import RotatedFeatures, Rotation
from .rows import Rows
from .softmax import CrossEntropy

LEAST_PENALTY = 1e-8
"""Penalty of the minimum for a head without weight decay: with none, separable classes have no minimum."""

_TOLERANCE = 1e-4  # of the minimum: far below any gap that matters
_APPROACH = 30.0  # a first penalty is approached from larger ones, by this factor


def solve(problem: SoftmaxRegression, l2: float, *, tolerance: float) -> Optimum:
    """Go from zero weights to the minimum for a penalty of the mean loss, by way of larger penalties."""
    problem.start(torch.zeros_like(problem.weights))
    larger = l2 * _APPROACH
    approach = []
    while larger < problem.largest:
        approach.append(larger)
        larger *= _APPROACH
    iterations = sum(problem.minimise(each, tolerance=1e-2).iterations for each in reversed(approach))
    last = problem.minimise(l2, tolerance=tolerance)
    return Optimum(last.objective, iterations + last.iterations, last.converged, last.decrement)


def least(x: Rows, y: npt.NDArray[np.int64], num_classes: int, rotation: Rotation, weight_decay: float) -> float | None:
    """Return the least objective of any head on features (n, d); None where it can't be found.

    Parameters
    ----------
    x : Rows
        Features that heads were trained on.
    y : ndarray of int64, shape (n,)
        Their classes.
    num_classes : int
        Classes of the task, C.
    rotation : Rotation
        Of these features, or of more.
    weight_decay : float
        The penalty; 0 is taken for :data:`LEAST_PENALTY`, whose share is then left out.
    """
    labels = torch.from_numpy(np.ascontiguousarray(y)).to(rotation.basis.device)
    problem = SoftmaxRegression(RotatedFeatures(x, rotation), rotation, CrossEntropy(labels), num_classes)
    optimum = solve(problem, max(weight_decay, LEAST_PENALTY), tolerance=_TOLERANCE)
    if weight_decay >= LEAST_PENALTY:
        value = optimum.objective - optimum.decrement
    else:
        value = problem.loss.loss(problem.logits)
    return value if optimum.converged and math.isfinite(value) else None


def measure(
    head: LinearHead,
    x: Rows,
    y: npt.NDArray[np.int64],
    logits: npt.NDArray[np.float32],
    loss: float,
    weight_decay: float,
    optimum: float | None,
) -> Convergence | None:
    """Return how far a head is from the minimum; None where that isn't known.

    Parameters
    ----------
    head : LinearHead
        Weights (C, d) and bias (C,).
    x : Rows
        The features (n, d) that it was trained on.
    y : ndarray of int64, shape (n,)
        Their classes.
    logits : ndarray of float32, shape (n, C)
        The head's, on them.
    loss : float
        Mean cross-entropy of the logits, in nats.
    weight_decay : float
        Penalty of the mean loss, on weights and bias.
    optimum : float or None
        The least objective at this penalty.
    """
    if optimum is None:
        return None
    weight, bias = (torch.from_numpy(a).double() for a in (head.weight, head.bias))
    objective = loss + weight_decay / 2 * float(weight.square().sum() + bias.square().sum())
    labels = torch.from_numpy(np.ascontiguousarray(y)).unsqueeze(1)
    slope, bias_slope = weight * weight_decay, bias * weight_decay
    for at, rows in x.chunks():
        errors = torch.softmax(torch.from_numpy(logits[at]).double(), 1)
        errors.scatter_add_(1, labels[at], torch.full((len(errors), 1), -1.0, dtype=torch.float64))
        errors /= len(y)
        slope += (errors.float().T @ rows).double()
        bias_slope += errors.sum(0)
    norm = math.sqrt(float(slope.square().sum() + bias_slope.square().sum()))
    if not (math.isfinite(objective) and math.isfinite(norm)):
        return None
    gap = max(0.0, objective - optimum)
    possible = math.log(len(bias)) - optimum
    return Convergence(
        gradient_norm=norm,
        objective=objective,
        optimum=optimum,
        gap=gap,
        relative_gap=gap / possible if possible > 0 else 0.0,
        penalty=weight_decay,
    )
