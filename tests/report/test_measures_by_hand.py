"""Every number of ``sparsebench analyze --json``, by other means from the same logits."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
from scipy.optimize import minimize_scalar
from scipy.special import rel_entr, softmax
from sklearn.metrics import cohen_kappa_score, confusion_matrix, log_loss, recall_score

from made_up import SHA
from sparsebench.analysis import halves
from sparsebench.cli import main
from sparsebench.schema import Numerics, RunRecord, RunSpec, Scores
from sparsebench.store import Predictions, Store

N, K = 400, 5
LABELS = np.arange(N) % K
IDS = tuple(f"i{j}" for j in range(N))


def write(results, checkpoint, logits):
    kept = Predictions.of(IDS, LABELS, logits)
    right = float(np.mean(kept.predicted == LABELS))
    spec = RunSpec(
        arch="mini", weights_sha256=SHA, mask_sha256=SHA, split_sha256=SHA, transform_sha256=SHA, mode="linear",
        probe="lbfgs", protocol={"of": checkpoint}, seed=0, checkpoint=checkpoint, method="dense", sparsity=0.0,
        sparsity_measured=0.0, sparsity_scope="prunable", distribution="dense", task="photos",
        protocol_name="test-linear", metric="top1", numerics=Numerics(threads=1),
    )  # fmt: skip
    scores = Scores(top1=right, mean_per_class=right, n_train=100, n_test=N, n_classes=K)
    record = RunRecord(status="ok", spec=spec, scores=scores, seconds=1.0, started="2026-01-02T03:04:05Z")
    Store(results).write(record, kept)


def analyzed(results, first, second, capsys):
    write(results, "mini.a", first)
    write(results, "mini.b", second)
    assert main(["analyze", "mini.a", "mini.b", "--results", str(results), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["tasks"]["photos"]


def calibration_error(probabilities):
    confidence, right = probabilities.max(1), probabilities.argmax(1) == LABELS
    edges = np.linspace(0, 1, 16)
    total = 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


def test_each_measure_by_scipy_and_scikit_learn(tmp_path, capsys):
    rng = np.random.default_rng(5)
    shared = rng.normal(size=(N, K)) + 1.5 * np.eye(K)[LABELS]
    raw = [(shared + 0.6 * rng.normal(size=(N, K))) * scale for scale in (3.0, 1.5)]
    got = analyzed(tmp_path, *raw, capsys)
    logits = [values.astype(np.float16).astype(np.float64) for values in raw]  # as they are kept
    one, other = (values.argmax(1) for values in raw)
    p, q = (softmax(values, axis=1) for values in logits)
    assert got["n"] == N
    assert got["agreement"] == pytest.approx(np.mean(one == other))
    assert got["churn"] == pytest.approx(np.mean(one != other))
    assert got["forgotten"] == pytest.approx(np.sum((one != LABELS) & (other == LABELS)))
    assert got["gained"] == pytest.approx(np.sum((one == LABELS) & (other != LABELS)))
    assert got["error_consistency"] == pytest.approx(cohen_kappa_score(one == LABELS, other == LABELS))
    assert got["kl"] == pytest.approx(rel_entr(p, q).sum(1).mean())
    middle = (p + q) / 2
    assert got["js"] == pytest.approx((rel_entr(p, middle) + rel_entr(q, middle)).sum(1).mean() / 2)
    second = halves([f"image {name}" for name in IDS])
    for side, values, prob, predicted in (("a", logits[0], p, one), ("b", logits[1], q, other)):
        assert got["nll"][side] == pytest.approx(log_loss(LABELS, prob))
        assert got["brier"][side] == pytest.approx(((prob - np.eye(K)[LABELS]) ** 2).sum(1).mean())
        assert got["ece"][side] == pytest.approx(calibration_error(prob))
        best = {half: fitted_temperature(values[second == half], LABELS[second == half]) for half in (False, True)}
        scaled = softmax(values / np.array([best[not half] for half in second])[:, None], axis=1)
        assert got["nll_scaled"][side] == pytest.approx(log_loss(LABELS, scaled), rel=1e-5)
        assert got["ece_scaled"][side] == pytest.approx(calibration_error(scaled), abs=1e-3)
        confusion = confusion_matrix(LABELS, predicted, normalize="true")
        np.testing.assert_allclose(got["confusion"][side], confusion, atol=1e-6)
        recalls = recall_score(LABELS, predicted, average=None)
        assert [row[f"recall_{side}"] for row in got["classes"]] == pytest.approx(list(recalls))
    for row in got["classes"]:
        own = row["class"] == LABELS
        lost, won = np.sum(own & (one != LABELS) & (other == LABELS)), np.sum(own & (one == LABELS) & (other != LABELS))
        expected = scipy.stats.binomtest(int(won), int(lost + won)).pvalue if lost + won else 1.0
        assert row["p"] == pytest.approx(expected)


def fitted_temperature(values, labels):
    def loss(log_t):
        return log_loss(labels, softmax(values / np.exp(log_t), axis=1), labels=range(K))

    return np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9}).x)


def test_independent_uniform_predictors_agree_by_chance(tmp_path, capsys):
    rng = np.random.default_rng(7)
    got = analyzed(tmp_path, rng.normal(size=(N, K)), rng.normal(size=(N, K)), capsys)
    low, high = scipy.stats.binom.interval(0.999, N, 1 / K)
    assert low <= N * got["agreement"] <= high
    assert abs(got["error_consistency"]) < 3.3 / N**0.5
    assert not [row["class"] for row in got["classes"] if row["changed"]]
