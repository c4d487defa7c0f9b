"""Scores on validation images that weren't trained on, and the temperature that fits them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import log_loss

from small_world import CLASSES, task_data
from sparsebench.transfer.scoring import finetuned_scores


def test_the_temperature_fits_the_held_out_images_best() -> None:
    data, rng = task_data(n_val=60), np.random.default_rng(0)
    test = rng.normal(size=(len(data.test), CLASSES))
    val = 4.0 * (rng.normal(size=(len(data.val), CLASSES)) + np.eye(CLASSES)[data.val.labels])
    scores = finetuned_scores(test, data, n_train=48, val_logits=val, train_loss=0.1)

    def loss(temperature: float) -> float:
        return float(log_loss(data.val.labels, softmax(val / temperature, axis=1), labels=range(CLASSES)))

    best = minimize_scalar(loss, bounds=(0.01, 100.0), method="bounded", options={"xatol": 1e-8})
    assert scores.temperature == pytest.approx(best.x, rel=1e-4)
    assert scores.val_top1 == np.mean(val.argmax(1) == data.val.labels)
    assert scores.n_val == 60


@pytest.mark.parametrize("val", [None, np.nan])
def test_no_temperature_without_numbers_of_held_out_images(val: float | None) -> None:
    data = task_data()
    logits = None if val is None else np.full((len(data.val), CLASSES), val)
    scores = finetuned_scores(np.zeros((len(data.test), CLASSES)), data, n_train=48, val_logits=logits, train_loss=0.1)
    assert scores.temperature is None
    assert scores.n_val == (0 if val is None else len(data.val))
