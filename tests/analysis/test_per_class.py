"""What changes class by class, and how alike features are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, ttest_ind
from sklearn.metrics import confusion_matrix

from sparsebench.analysis import class_changes, class_impact, confusion, holm, impact_p_values, linear_cka
from sparsebench.analysis.metrics import mean_per_class

LABELS = np.arange(1000) % 10


def wrong(rate=0.1, seed=0, runs=1):
    return np.random.default_rng(seed).random((runs, 1000)) < rate


@given(arrays(np.int64, 20, elements=st.integers(0, 3)), arrays(np.int64, 20, elements=st.integers(0, 3)))
def test_confusion_is_scikit_learns(predicted, labels):
    assert (confusion(predicted, labels, 5) == confusion_matrix(labels, predicted, labels=range(5))).all()


def test_planted_changes_are_found_and_chance_is_not():
    dense = wrong(0.1)
    sparse = wrong(0.1, seed=1)
    assert not any(row.changed for row in class_changes(sparse, dense, LABELS))
    for label in (3, 7):
        sparse[:, label == LABELS] |= np.random.default_rng(label).random((1, 100)) < 0.4
    rows = class_changes(sparse, dense, LABELS)
    assert [row.label for row in rows if row.changed] == [3, 7]
    assert all(row.change < -0.2 for row in rows if row.changed)


def test_false_findings_are_at_most_one_in_twenty():
    false = 0
    for seed in range(60):
        false += any(row.changed for row in class_changes(wrong(seed=seed), wrong(seed=seed + 1000), LABELS))
    assert false <= 7


def test_by_class_p_values_are_mcnemars_and_recalls_are_means():
    dense, sparse = wrong(0.1, runs=3), wrong(0.3, seed=1, runs=3)
    rows = class_changes(sparse[:1], dense[:1], LABELS)
    for row in rows:
        own = row.label == LABELS
        alone = int((dense[0] & ~sparse[0])[own].sum()), int((~dense[0] & sparse[0])[own].sum())
        assert row.p == pytest.approx(binomtest(alone[0], sum(alone)).pvalue)
    assert [row.holm_p for row in rows] == pytest.approx(holm([row.p for row in rows]))
    means = class_changes(sparse, dense, LABELS)
    assert np.mean([row.reference for row in means]) == pytest.approx(np.mean(~dense))


def test_images_of_one_source_are_one_observation():
    dense, sparse = np.zeros((1, 1000), bool), wrong(0.05)
    sparse[0, LABELS == 0] = np.arange(100) < 20
    alone, together = (class_changes(sparse, dense, LABELS, units)[0] for units in (None, np.arange(1000) // 500))
    assert alone.changed
    assert not together.changed


def test_class_impact_is_recall_beyond_accuracy_and_its_test_is_welchs():
    dense, sparse = wrong(0.1, runs=4), wrong(0.2, seed=1, runs=5)
    sparse[:, LABELS == 2] |= np.random.default_rng(5).random((5, 100)) < 0.5
    impacts = [class_impact(values, LABELS) for values in (sparse, dense)]
    predicted = np.where(sparse[0], (LABELS + 1) % 10, LABELS)
    assert impacts[0][0].mean() + np.mean(~sparse[0]) == pytest.approx(mean_per_class(predicted, LABELS, 10))
    adjusted = impact_p_values(*impacts)
    assert adjusted == pytest.approx(holm(list(ttest_ind(*impacts, equal_var=False).pvalue)))
    assert adjusted[2] < 0.05


def slow_cka(x, y):
    centre = np.eye(len(x)) - 1 / len(x)
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return np.sum(k * m) / math.sqrt(np.sum(k * k) * np.sum(m * m))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_cka_is_that_of_gram_matrices_and_bears_rotation_and_scale(kind):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)).astype(kind), rng.normal(size=(40, 9)).astype(kind)
    assert linear_cka(x, y) == pytest.approx(slow_cka(x.astype(float), y.astype(float)))
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x))
    assert linear_cka(x, x) == pytest.approx(1.0)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert linear_cka(x.astype(float), 1e200 * x.astype(float) @ rotation) == pytest.approx(1.0)


def test_cka_of_constant_features_is_unknown_and_other_images_are_refused():
    assert math.isnan(linear_cka(np.ones((5, 2)), np.eye(5)))
    with pytest.raises(ValueError, match="same images"):
        linear_cka(np.ones((5, 2)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="NaN"):
        linear_cka(np.full((5, 2), np.nan), np.eye(5))
