"""Multinomial logistic regression over an L2 path with warm starts, chosen on validation, as Kornblith et al. do.

The weights W (C, d + 1), bias included, minimise the sum over images of the cross-entropy, plus l2 / 2 |W|^2. (The
published SGD protocol has the same objective with l2 = n * weight_decay.) Penalties go from the largest to the
smallest, each starting where the one before ended; the best on val is then fitted on train and val from where it ended.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch

from ...common.progress import Progress, Throttle
from ...schema import Protocol, RunError, Trial
from .base import LinearHead, cross_entropy
from .choice import choose, scored
from .convergence import measure, solve
from .data import Fitted, ProbeData
from .quasi_newton import PATH_TOLERANCE, TOLERANCE, SoftmaxRegression
from .rotation import RotatedFeatures, Rotation
from .softmax import CrossEntropy


class ConvergenceWarning(UserWarning):
    """A fit ended before it was within its tolerance; its weights are used as they are."""


def fit_seeds(
    data: ProbeData,
    protocol: Protocol,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Fitted | RunError]:
    """Fit once, for all seeds: the minimum depends on none."""
    started = time.perf_counter()
    penalties = protocol.settings.l2.values()
    report = Throttle(progress, len(penalties) + 2)
    rotation = data.rotation(device)
    features = RotatedFeatures(data.x, rotation)
    report.advance(1)
    trials: tuple[Trial, ...] = ()
    best, weights = None, None
    if len(penalties) > 1:
        trials, best, weights = _path(data, features, rotation, penalties, report)
    penalty = penalties[0] if best is None else best.settings["l2"]
    labels = torch.from_numpy(data.y).to(features.device)
    problem = SoftmaxRegression(features, rotation, CrossEntropy(labels), data.num_classes)
    if weights is None:
        optimum = solve(problem, penalty / len(data.y), tolerance=TOLERANCE)
    else:
        problem.start(weights)
        optimum = problem.minimise(penalty / len(data.y), tolerance=TOLERANCE)
    if not optimum.converged:
        warnings.warn(
            f"L-BFGS ended after {optimum.iterations} iterations before it had converged",
            ConvergenceWarning,
            stacklevel=2,
        )
    head = LinearHead(*features.head(problem.weights))
    report.advance(1)
    logits = problem.logits.cpu().numpy()
    loss, decay = cross_entropy(logits, data.y), penalty / len(data.y)
    minimum = optimum.objective - optimum.decrement
    one = Fitted(
        head.logits(data.x_test),
        0.0,
        len(data.y),
        best,
        trials,
        train_loss=loss,
        head=head,
        convergence=measure(head, data.x, data.y, logits, loss, decay, minimum),
    )
    return [replace(one, seconds=(time.perf_counter() - started) / len(seeds)) for _ in seeds]


def _path(
    data: ProbeData, features: RotatedFeatures, rotation: Rotation, penalties: Sequence[float], report: Throttle
) -> tuple[tuple[Trial, ...], Trial, torch.Tensor]:
    """Fit every penalty on the fitted rows; return the trials, the best of them and its weights."""
    device, mask = features.device, data.fitted
    loss = CrossEntropy(torch.from_numpy(data.y).to(device), torch.from_numpy(mask).to(device))
    problem = SoftmaxRegression(features, rotation, loss, data.num_classes)
    trials: list[Trial] = []
    best, weights = None, problem.weights
    held_out = torch.from_numpy(~mask).to(device)
    for penalty in penalties:
        problem.minimise(penalty / loss.count, tolerance=PATH_TOLERANCE)
        logits = problem.logits[held_out].cpu().numpy()
        trials.append(scored(Trial(settings={"l2": penalty}), logits, data.y[~mask], data.num_classes))
        now = choose(trials, data.metric)
        if now is not best:
            best, weights = now, problem.weights.clone()
        report.advance(1)
    assert best is not None  # noqa: S101 - there is a penalty
    return tuple(trials), best, weights
