"""Hyperparameters chosen on validation: by the task's metric, then the lower loss, then the earlier candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...schema import Metric, Protocol, RunError, Trial
from .base import cross_entropy, evaluate


def choose(trials: Sequence[Trial], metric: Metric) -> Trial:
    """Return the best trial by the task's metric on val; ties by loss on val, then by order.

    Raises
    ------
    RunError
        If every trial diverged.
    """
    finished = [trial for trial in trials if getattr(trial, f"val_{metric}") is not None]
    if not finished:
        rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(trial.settings["lr"] for trial in trials))
        raise RunError(f"training diverged at every point of the grid (learning rates {rates})", "add lower ones")
    return min(finished, key=lambda trial: (-getattr(trial, f"val_{metric}"), _loss(trial)))


def scored(
    trial: Trial, logits: npt.NDArray[np.float32] | None, labels: npt.NDArray[np.int64], num_classes: int
) -> Trial:
    """Return a trial with its scores on val; without any where there are no logits, or one isn't finite."""
    if logits is None or not np.isfinite(logits).all():
        return trial
    score = evaluate(logits, labels, num_classes)
    update = {
        "val_top1": score.top1,
        "val_mean_per_class": score.mean_per_class,
        "val_loss": cross_entropy(logits, labels),
    }
    return trial.model_copy(update=update)


def at_best(protocol: Protocol, chosen: Trial) -> Protocol:
    """Return the protocol with the learning rate and weight decay of a trial."""
    return protocol.at(chosen.settings["lr"], chosen.settings["weight_decay"])


def _loss(trial: Trial) -> float:
    return math.inf if trial.val_loss is None or not math.isfinite(trial.val_loss) else trial.val_loss
