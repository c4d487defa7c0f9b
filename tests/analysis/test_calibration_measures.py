"""Calibration, temperature scaling and divergences, against scipy, scikit-learn and slow references."""

import math
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import log_loss

from sparsebench.analysis import (
    cross_fitted,
    expected_calibration_error,
    fit_temperature,
    halves,
    jensen_shannon_values,
    kl_values,
    reliability,
    score,
)
from sparsebench.analysis.calibration import ece_values

LOGITS = arrays(np.float64, (12, 4), elements=st.integers(-240, 240).map(lambda k: k / 8))  # softmax keeps their order
LABELS = arrays(np.int64, 12, elements=st.integers(0, 3))


def made(n=500, classes=7, sharpness=1.0, seed=0):
    """Return logits of which the softmax of a tenth of them, times the sharpness, is calibrated, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 2.0
    labels = np.array([rng.choice(classes, p=softmax(row)) for row in logits])
    return (logits * sharpness).astype(np.float16), labels


def slow_ece(p, labels, edges):
    total = 0.0
    for low, high in pairwise(edges):
        inside = (p.max(1) > low) & (p.max(1) <= high)
        if inside.any():
            total += abs(np.sum((p.argmax(1) == labels)[inside] - p.max(1)[inside]))
    return total / len(p)


def test_calibration_error_by_hand():
    # confidences 0.8 (right), 0.8 (wrong), 0.6 (right): bins (0.75, 1] and (0.5, 0.75] of four
    probabilities = np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]])
    error = expected_calibration_error(np.log(probabilities), [0, 1, 1], bins=4)
    assert error == pytest.approx(2 / 3 * abs(0.5 - 0.8) + 1 / 3 * abs(1.0 - 0.6))


def test_calibration_error_of_sure_and_right_is_zero_and_of_sure_and_wrong_is_one():
    logits = [[1000.0, -1000.0]] * 4
    assert expected_calibration_error(logits, [0] * 4) == 0.0
    assert expected_calibration_error(logits, [1] * 4) == 1.0
    with pytest.raises(ValueError, match="shape"):
        expected_calibration_error([0, 1], [0, 1])


@given(LOGITS, LABELS, st.integers(1, 20), st.sampled_from(["width", "mass"]))
def test_calibration_error_by_a_slow_sum(logits, labels, bins, by):
    at = score(logits, labels).confidence * bins
    assume(np.abs(at - np.round(at))[at < bins - 1e-9].min(initial=1) > 1e-9)  # rounding decides at an edge
    found = reliability(score(logits, labels), bins, by)
    assert found.counts.sum() == 12
    assert 0.0 <= found.error <= 1.0
    assert ece_values(score(logits, labels), bins, by).mean() == pytest.approx(found.error, abs=1e-12)
    if by == "width":
        assert found.error == pytest.approx(slow_ece(softmax(logits, axis=1), labels, np.linspace(0, 1, bins + 1)))
    order = np.random.default_rng(bins).permutation(12)
    assert expected_calibration_error(logits[order], labels[order], bins, by) == pytest.approx(found.error, abs=1e-12)


def test_bins_of_equal_mass_have_equally_many_images():
    logits, labels = made(600, sharpness=1.3)
    p = softmax(logits.astype(float), axis=1)
    found = reliability(score(logits.astype(float), labels), 15, "mass")
    assert found.counts.min() >= 39
    assert found.counts.max() <= 41
    edges = np.quantile(p.max(1), np.linspace(0, 1, 16))
    edges[0] = 0.0
    assert found.error == pytest.approx(slow_ece(p, labels, edges))


def test_scores_are_those_of_scipy_and_scikit_learn():
    logits, labels = made()
    p = softmax(logits.astype(float), axis=1)
    got = score(logits, labels)
    assert got.nll.mean() == pytest.approx(log_loss(labels, p, labels=range(7)))
    assert got.brier.mean() == pytest.approx(np.mean(np.sum((p - np.eye(7)[labels]) ** 2, axis=1)))
    assert np.allclose(got.confidence, p.max(1))
    assert (got.right == (p.argmax(1) == labels)).all()
    hot = score(logits, labels, 2.0)
    assert hot.nll.mean() == pytest.approx(log_loss(labels, softmax(logits.astype(float) / 2, axis=1)))


@given(LOGITS, LOGITS)
def test_divergences_are_scipys(one, other):
    p, q = softmax(one, axis=1), softmax(other, axis=1)
    assert np.allclose(kl_values(one, other), entropy(p, q, axis=1), rtol=1e-6, atol=1e-9)
    both = jensen_shannon_values(one, other)
    assert np.allclose(both, np.nan_to_num(jensenshannon(p, q, axis=1)) ** 2, rtol=1e-6, atol=1e-9)
    assert np.allclose(both, jensen_shannon_values(other, one), rtol=0, atol=1e-12)
    assert (both <= math.log(2)).all()
    assert (kl_values(one, one) == 0).all()
    assert (jensen_shannon_values(one, one) == 0).all()
    assert np.allclose(kl_values(one, one + 3.0), 0.0, atol=1e-9)


@given(LOGITS, LABELS)
def test_temperature_never_raises_the_loss_it_was_fitted_by(logits, labels):
    before, after = (score(logits, labels, t).nll.mean() for t in (1.0, fit_temperature(logits, labels)))
    assert after <= before + 1e-12
    best = minimize_scalar(
        lambda x: score(logits, labels, math.exp(x)).nll.mean(), bounds=(-4.6, 4.6), method="bounded"
    )
    assert after <= best.fun + 1e-6


@pytest.mark.parametrize("sharpness", [0.25, 1.0, 3.0])
def test_temperature_finds_how_much_too_sharp_logits_are(sharpness):
    logits, labels = made(4000, sharpness=sharpness)
    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.1)


def test_temperature_of_faultless_and_of_hopeless_predictions_is_a_bound():
    logits = np.eye(3)[[0, 1, 2, 0]] * 2
    assert fit_temperature(logits, [0, 1, 2, 0]) == pytest.approx(0.01)
    assert fit_temperature(logits, [1, 2, 0, 1]) == pytest.approx(100.0)


def test_halves_follow_from_names_and_keep_sources_together():
    names = [f"image{i}" for i in range(101)]
    second = halves(names)
    assert second.sum() == 50
    order = np.random.default_rng(0).permutation(101)
    assert (halves([names[i] for i in order]) == second[order]).all()
    sources = halves([f"source{i // 5}" for i in range(100)]).reshape(20, 5)
    assert (sources == sources[:, :1]).all()
    assert sources[:, 0].sum() == 10


def test_cross_fitting_uses_the_other_half():
    logits, labels = made(2000, sharpness=3.0)
    second = halves([str(i) for i in range(2000)])
    got = cross_fitted(logits, labels, second)
    assert set(got[second]) == {fit_temperature(logits[~second], labels[~second])}
    assert set(got[~second]) == {fit_temperature(logits[second], labels[second])}
    before, after = (expected_calibration_error(logits / t, labels) for t in (np.ones((2000, 1)), got[:, None]))
    assert after < before / 3
    assert (cross_fitted(logits, labels, np.zeros(2000, bool)) == 1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(bad):
    logits = np.array([[0.0, bad], [1.0, 2.0]])
    for compute in (
        lambda: score(logits, [0, 1]),
        lambda: kl_values(logits, logits),
        lambda: fit_temperature(logits, [0, 1]),
    ):
        with pytest.raises(ValueError, match="NaN or infinity"):
            compute()
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\)"):
        score([[0.0, 1.0]], [2])
    with pytest.raises(ValueError, match="same classes"):
        kl_values([[0.0, 1.0]], [[0.0, 1.0, 2.0]])


@pytest.mark.parametrize("n", [3_000, pytest.param(60_000, marks=pytest.mark.slow)])
def test_many_logits_are_taken_a_few_at_a_time(n):
    rng = np.random.default_rng(0)
    logits = rng.integers(-99, 99, size=(n, 1000), dtype=np.int8).astype(np.float16)
    labels = rng.integers(1000, size=n)
    tracemalloc.start()
    score(logits, labels)
    jensen_shannon_values(logits, logits)
    kl_values(logits, logits)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 90 * 2**20
