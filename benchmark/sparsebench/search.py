"""Learning rate and weight decay chosen on the validation split: what a protocol with a grid does before its training.

Each point of the grid is trained on train alone, with the run's own seed, and scored on val; the test images are not
looked at. The best score in the task's metric wins; of equal scores the lower loss on val, then the earlier point, of
which the protocol's own values are the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .datasets.base import Split, TaskData
from .features import Features
from .finetune import finetune
from .probes.base import cross_entropy, evaluate
from .probes.many import fit_many
from .progress import Progress, part
from .schema import Metric, Numerics, Protocol, RunError, Scores, Trial

if TYPE_CHECKING:
    from .datasets.transforms import Transform
    from .loading import Backbone

Logits = npt.NDArray[np.float32]


def choose(trials: Sequence[Trial], metric: Metric) -> Trial:
    """Return the best trial by the task's metric on val; ties by loss on val, then by order.

    Raises
    ------
    RunError
        If every trial diverged.
    """
    finished = [trial for trial in trials if getattr(trial, f"val_{metric}") is not None]
    if not finished:
        rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(trial.lr for trial in trials))
        raise RunError(f"training diverged at every point of the grid (learning rates {rates})", "add lower ones")
    return min(finished, key=lambda trial: (-getattr(trial, f"val_{metric}"), _loss(trial)))


def _loss(trial: Trial) -> float:
    return math.inf if trial.val_loss is None or not math.isfinite(trial.val_loss) else trial.val_loss


def search_linear(
    train: Features,
    val: Features,
    num_classes: int,
    protocol: Protocol,
    seed: int,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> tuple[Trial, ...]:
    """Fit the protocol's probe at every point of its grid on the features of train, and score each on those of val."""
    points = protocol.points()
    protocols = [protocol.at(*point) for point in points]
    heads = fit_many(
        protocol.probe or "", train.x, train.y, num_classes, protocols, seed, device=device, progress=progress
    )
    return tuple(
        _trial(point, None if isinstance(head, RunError) else head.logits(val.x), val.y, num_classes)
        for point, head in zip(points, heads, strict=True)
    )


def search_full(
    backbone: Backbone,
    data: TaskData,
    transform: Transform,
    protocol: Protocol,
    seed: int,
    *,
    numerics: Numerics,
    progress: Progress | None = None,
    workers: int = 0,
) -> tuple[Trial, ...]:
    """Finetune at every point of the protocol's grid on train, and score each on val, which stands where test would."""
    points = protocol.points()
    inner = replace(data, val=_empty(), test=data.val)
    trials = []
    for k, point in enumerate(points):
        report = None if progress is None else part(progress, k / len(points), (k + 1) / len(points))
        settings = protocol.at(*point, train_on="train")
        try:
            logits = finetune(
                backbone, inner, transform, settings, seed, numerics=numerics, progress=report, workers=workers
            ).test_logits
        except RunError:  # it diverged: a point that can't be chosen
            trials.append(_trial(point, None, data.val.labels, len(data.classes)))
        else:
            trials.append(_trial(point, logits, data.val.labels, len(data.classes)))
    return tuple(trials)


def search_progress(protocol: Protocol, progress: Progress) -> tuple[Progress, Progress]:
    """Return the progress of a search, and of the training after it: each point is as long as that, about."""
    share = 1 - 1 / (len(protocol.points()) + 1)
    return part(progress, 0.0, share), part(progress, share, 1.0)


def at_best(protocol: Protocol, trials: Sequence[Trial], metric: Metric) -> Protocol:
    """Return the protocol with the learning rate and weight decay that did best on val."""
    chosen = choose(trials, metric)
    return protocol.at(chosen.lr, chosen.weight_decay)


def with_choice(scores: Scores, trials: Sequence[Trial], metric: Metric, n_val: int) -> Scores:
    """Return the scores with what a search chose, and what the choice scored on val before val was trained on."""
    if not trials:
        return scores
    chosen = choose(trials, metric)
    update = {
        "val_top1": chosen.val_top1,
        "val_mean_per_class": chosen.val_mean_per_class,
        "n_val": n_val,
        "chosen_lr": chosen.lr,
        "chosen_weight_decay": chosen.weight_decay,
    }
    return scores.model_copy(update=update)


def joined(first: Features, second: Features) -> Features:
    """Return the features of ``first`` followed by those of ``second``: train and val together."""
    return Features(
        x=np.concatenate([first.x, second.x]),
        y=np.concatenate([first.y, second.y]),
        ids=first.ids + second.ids,
        seconds=first.seconds + second.seconds,
        cached=first.cached and second.cached,
    )


def _trial(point: tuple[float, float], logits: Logits | None, labels: npt.NDArray[np.int64], num_classes: int) -> Trial:
    lr, weight_decay = point
    if logits is None or not np.isfinite(logits).all():
        return Trial(lr=lr, weight_decay=weight_decay)
    score = evaluate(logits, labels, num_classes)
    return Trial(
        lr=lr,
        weight_decay=weight_decay,
        val_top1=score.top1,
        val_mean_per_class=score.mean_per_class,
        val_loss=cross_entropy(logits, labels),
    )


def _empty() -> Split:
    def load(i: int) -> object:
        raise IndexError(i)

    return Split((), np.zeros(0, dtype=np.int64), (), load)  # type: ignore[arg-type]
