"""What a run's logits are worth: its scores, and the predictions that are kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..analysis.temperature import fit_temperature
from ..datasets import TaskData
from ..schema import Scores
from ..store import Predictions
from .grid_search import with_choice
from .probes.base import evaluate
from .probes.data import Fitted, ProbeData
from .probes.fitting import accuracies


def predictions_of(logits: Any, data: TaskData) -> Predictions:
    """Return the test images' ids, labels, predicted classes and logits."""
    return Predictions.of(data.test.ids, data.test.labels, logits)


def probe_scores(fitted: Fitted, probed: ProbeData, data: TaskData) -> Scores:
    """Return the scores of a probe's fit; those on validation where it wasn't trained on."""
    classes = len(data.classes)
    top1, per_class = accuracies(fitted, probed)
    scores = Scores(
        top1=top1,
        mean_per_class=per_class,
        train_loss=fitted.train_loss,
        few_shot=tuple(fitted.few_shot),
        convergence=fitted.convergence,
        n_train=fitted.n_train,
        n_test=len(data.test),
        n_classes=classes,
        **_on_val(fitted.val_logits, data),
    )
    return with_choice(scores, fitted.chosen, int((~probed.fitted).sum()))


def finetuned_scores(
    test_logits: Any,
    data: TaskData,
    *,
    n_train: int,
    val_logits: Any | None,
    train_loss: float,
    best_test: float | None = None,
) -> Scores:
    """Return the scores of a finetuned network; ``best_test`` is the best epoch's, where each was scored."""
    classes = len(data.classes)
    test = evaluate(test_logits, data.test.labels, classes)
    return Scores(
        top1=test.top1,
        mean_per_class=test.mean_per_class,
        best_test=best_test,
        train_loss=train_loss,
        n_train=n_train,
        n_test=len(data.test),
        n_classes=classes,
        **_on_val(val_logits, data),
    )


def _on_val(logits: Any | None, data: TaskData) -> dict[str, Any]:
    """Return the scores on validation images that weren't trained on; nothing where all were."""
    if logits is None:
        return {}
    found = evaluate(logits, data.val.labels, len(data.classes))
    return {
        "val_top1": found.top1,
        "val_mean_per_class": found.mean_per_class,
        "temperature": fit_temperature(logits, data.val.labels) if np.isfinite(logits).all() else None,
        "n_val": len(data.val),
    }
