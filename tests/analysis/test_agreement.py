"""Agreement, forgotten and gained images, error consistency, exemplars."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score

from sparsebench.analysis import agreement, churn, error_consistency, exemplars, forgotten, gained, mean_interval
from sparsebench.analysis.agreement import kappa_values

CLASSES = arrays(np.int64, 30, elements=st.integers(0, 4))
RIGHT = arrays(np.bool_, 30)


@given(CLASSES, CLASSES, CLASSES)
def test_agreement_is_symmetric_and_counts_balance_accuracies(a, b, labels):
    assert agreement(a, a) == 1.0
    assert agreement(a, b) == agreement(b, a) == pytest.approx(1.0 - churn(a, b))
    assert gained(a, b, labels) - forgotten(a, b, labels) == np.sum(a == labels) - np.sum(b == labels)
    assert gained(a, b, labels) == forgotten(b, a, labels)


def test_forgotten_are_the_references_own():
    sparse, dense, labels = [0, 1, 1, 2], [0, 1, 2, 0], [0, 0, 2, 2]
    assert forgotten(sparse, dense, labels) == 1
    assert gained(sparse, dense, labels) == 1
    with pytest.raises(ValueError, match="one value per image"):
        agreement([0, 1], [0])
    with pytest.raises(ValueError, match="one value per image"):
        agreement([], [])


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_independent_uniform_predictors_agree_by_chance(classes):
    n = 200_000
    a, b = np.random.default_rng(0).integers(classes, size=(2, n))
    p = 1 / classes
    assert abs(agreement(a, b) - p) < 4 * math.sqrt(p * (1 - p) / n)
    assert abs(error_consistency(a == 0, b == 0)) < 4 / math.sqrt(n) * classes


@given(RIGHT, RIGHT)
def test_error_consistency_is_cohens_kappa(a, b):
    got = error_consistency(a, b)
    assert got == pytest.approx(error_consistency(b, a), nan_ok=True, abs=1e-12)
    if (a.all() and b.all()) or not (a.any() or b.any()):
        assert math.isnan(got)
    else:
        assert got == pytest.approx(cohen_kappa_score(a, b), abs=1e-9)
        assert got <= 1.0 + 1e-12
        if 0 < a.sum() < len(a):
            assert error_consistency(a, a) == pytest.approx(1.0)


def test_error_consistency_at_the_edges():
    some = np.array([True, False, True, True])
    assert error_consistency(some, np.ones(4, bool)) == 0.0
    assert error_consistency([True, False], [False, True]) == -1.0
    assert math.isnan(error_consistency(np.ones(4, bool), np.ones(4, bool)))


def test_the_influence_of_images_on_kappa_is_that_of_a_jackknife():
    rng = np.random.default_rng(1)
    a = rng.random(400) < 0.8
    b = np.where(rng.random(400) < 0.7, a, rng.random(400) < 0.6)
    left_out = [error_consistency(np.delete(a, i), np.delete(b, i)) for i in range(400)]
    jackknife = 399 / 400 * np.sum((left_out - np.mean(left_out)) ** 2)
    values = kappa_values(a, b)
    assert values.mean() == pytest.approx(error_consistency(a, b))
    assert values.var(ddof=1) / 400 == pytest.approx(jackknife, rel=0.02)


def test_exemplars_are_images_whose_modal_class_changes():
    sparse = [[0, 1, 2, 3, 0], [0, 1, 2, 1, 1], [1, 2, 2, 1, 2]]
    dense = [[0, 2, 2, 2, 0], [0, 2, 1, 2, 1]]
    # modal over sparse: 0 1 2 1 {0,1,2}; over dense: 0 2 {2,1} 2 {0,1}
    assert exemplars(sparse, dense).tolist() == [False, True, False, True, False]
    with pytest.raises(ValueError, match="networks by images"):
        exemplars(sparse, [[0, 1]])


@given(arrays(np.int64, (3, 12), elements=st.integers(0, 3)), arrays(np.int64, (2, 12), elements=st.integers(0, 3)))
def test_exemplars_by_a_slow_count(one, other):
    def modal(column):
        return {k for k in column if list(column).count(k) == max(list(column).count(c) for c in column)}

    slow = [not (modal(a) & modal(b)) for a, b in zip(one.T, other.T, strict=True)]
    assert exemplars(one, other).tolist() == slow == exemplars(other, one).tolist()
    assert not exemplars(one, one).any()


def test_the_interval_of_a_mean_covers_images_and_their_sources():
    rng = np.random.default_rng(2)
    hits, clustered = 0, 0
    for _ in range(300):
        hits += contains(mean_interval((rng.random((1, 200)) < 0.9).astype(float), [(0, 0)]), 0.9)
        sources = np.repeat(rng.random(50) < 0.9, 4).astype(float)
        clustered += contains(mean_interval(sources[None], [(0, 0)], np.repeat(np.arange(50), 4)), 0.9)
    assert hits >= 0.92 * 300
    assert clustered >= 0.90 * 300


def test_an_interval_over_seeds_says_so_and_undefined_runs_are_left_out():
    rng = np.random.default_rng(3)
    values = (rng.random((3, 100)) < np.array([[0.5], [0.7], [0.9]])).astype(float)
    got = mean_interval(values, [(0, 0), (0, 1), (0, 2)])
    alone = mean_interval(values[:1], [(0, 0)])
    assert got.value == pytest.approx(values.mean())
    assert got.covers == "seeds and test images"
    assert alone.covers == "test images"
    assert got.high - got.low > 2 * (alone.high - alone.low)
    values[1] = np.nan
    assert mean_interval(values, [(0, 0), (0, 1), (0, 2)]).value == pytest.approx(values[[0, 2]].mean())
    assert math.isnan(mean_interval(np.full((1, 3), np.nan), [(0, 0)]).value)


def contains(interval, truth):
    return interval.low <= truth <= interval.high
