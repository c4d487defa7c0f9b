"""Logistic regression against scikit-learn's, along the path, and where there is nothing left to gain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from examples import probe_data, problem, protocol
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from sparsebench.transfer.probes import lbfgs, rotation
from sparsebench.transfer.probes.data import ProbeData
from sparsebench.transfer.probes.quasi_newton import PATH_TOLERANCE, SoftmaxRegression
from sparsebench.transfer.probes.rotation import RotatedFeatures, rotate
from sparsebench.transfer.probes.rows import Rows
from sparsebench.transfer.probes.softmax import CrossEntropy


def extended(x):
    return np.concatenate([x, np.ones((len(x), 1))], 1).astype(np.float64)


def objective(weights, x, y, l2) -> float:
    """Summed cross-entropy plus l2 / 2 |W|^2, in double precision."""
    logits = torch.from_numpy(extended(x) @ weights.T)
    return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="sum")) + l2 / 2 * float(
        (weights**2).sum()
    )


def minimum(x, y, l2) -> float:
    solver = LogisticRegression(C=1 / l2, fit_intercept=False, tol=1e-10, max_iter=20_000)
    return objective(solver.fit(extended(x), y).coef_, x, y, l2)


def fixed(l2):
    return protocol("lbfgs-linear", l2={"low": l2, "high": l2, "count": 1})


def together(head):
    return np.concatenate([head.weight, head.bias[:, None]], 1).astype(np.float64)


@pytest.mark.parametrize("l2", [1e3, 1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("spread", [0.3, 2.0], ids=["separable", "overlapping"])
def test_the_objective_is_scikit_learns(l2, spread):
    x, y = problem(200, 30, spread=spread)
    data = ProbeData(Rows([x]), y, 200, x[:5], y[:5], 5)
    (fitted,) = lbfgs.fit_seeds(data, fixed(l2), [0])
    best = minimum(x, y, l2)
    assert objective(together(fitted.head), x, y, l2) <= best * (1 + 1e-4)
    assert fitted.chosen is None
    assert fitted.trials == ()


def test_the_path_is_chosen_on_val_and_refitted_on_both():
    data = probe_data(spread=2.0)
    (fitted, again) = lbfgs.fit_seeds(data, protocol("lbfgs-linear"), [0, 5])
    assert fitted.head is again.head
    assert [t.settings["l2"] for t in fitted.trials] == pytest.approx(np.logspace(5, -6, 45).tolist())
    assert fitted.chosen.val_top1 == max(t.val_top1 for t in fitted.trials)
    x = np.concatenate(data.x.blocks)
    assert objective(together(fitted.head), x, data.y, fitted.chosen.settings["l2"]) == pytest.approx(
        minimum(x, data.y, fitted.chosen.settings["l2"]), rel=1e-4
    )
    for trial in fitted.trials[::8]:
        solver = LogisticRegression(C=1 / trial.settings["l2"], fit_intercept=False, tol=1e-9, max_iter=20_000)
        solver.fit(extended(data.x.blocks[0]), data.y[:120])
        assert trial.val_top1 == pytest.approx(
            solver.score(extended(data.x.blocks[1]), data.y[120:]), abs=1 / 40 + 1e-9
        )


def regression(x, y) -> SoftmaxRegression:
    rows = Rows([x])
    rotation_ = rotate(rows)
    labels = torch.from_numpy(y)
    return SoftmaxRegression(RotatedFeatures(rows, rotation_), rotation_, CrossEntropy(labels), int(y.max()) + 1)


def test_every_point_of_the_path_is_a_minimum():
    x, y = problem(150, 12, spread=1.5)
    problem_ = regression(x, y)
    for l2 in np.logspace(3, -4, 15):
        optimum = problem_.minimise(float(l2) / 150, tolerance=1e-6)
        assert optimum.converged
        assert optimum.objective * 150 == pytest.approx(minimum(x, y, l2), rel=1e-4)


@pytest.mark.parametrize("spread", [0.3, 1.5], ids=["separable", "overlapping"])
def test_a_fine_path_takes_few_iterations_a_penalty(spread):
    x, y = problem(300, 40, spread=spread)
    problem_, penalties = regression(x, y), np.logspace(5, -6, 45)
    optima = [problem_.minimise(float(l2) / 300, tolerance=PATH_TOLERANCE) for l2 in penalties]
    assert all(optimum.converged for optimum in optima)
    assert sum(optimum.iterations for optimum in optima) <= 5 * 45
    for l2, optimum in list(zip(penalties, optima, strict=True))[::6]:
        assert optimum.objective * 300 == pytest.approx(minimum(x, y, l2), rel=3e-4)


def test_penalties_may_come_in_any_order():
    x, y = problem(150, 12, spread=1.5)
    problem_ = regression(x, y)
    for l2 in (1e-3, 1e-3, 1e-3, 1e2, 1.0, 1e-2, 1e2):
        optimum = problem_.minimise(l2 / 150)
        assert optimum.converged
        assert optimum.objective * 150 == pytest.approx(minimum(x, y, l2), rel=1e-4)


def test_without_val_some_of_each_class_is_held_out():
    data = probe_data(n_val=0, spread=2.0)
    held_out = ~data.fitted
    for label in range(5):
        rows = data.y == label
        assert (held_out & rows).sum() == round(0.2 * rows.sum())
    assert np.array_equal(probe_data(n_val=0, spread=2.0).fitted, data.fitted)
    (fitted,) = lbfgs.fit_seeds(data, protocol("lbfgs-linear"), [0])
    assert fitted.chosen is not None
    assert fitted.n_train == 120


def test_the_same_bits_again():
    one, two = (lbfgs.fit_seeds(probe_data(), protocol("lbfgs-linear"), [0])[0] for _ in range(2))
    np.testing.assert_array_equal(one.head.weight, two.head.weight)


def test_rotating_weights_instead_of_features_gives_the_same(monkeypatch):
    (copied,) = lbfgs.fit_seeds(probe_data(), fixed(1.0), [0])
    monkeypatch.setattr(rotation, "COPY_BYTES", 0)
    (streamed,) = lbfgs.fit_seeds(probe_data(), fixed(1.0), [0])
    np.testing.assert_allclose(streamed.head.weight, copied.head.weight, atol=2e-3 * np.abs(copied.head.weight).max())


def test_a_fit_that_ends_early_says_so(monkeypatch):
    monkeypatch.setattr(lbfgs, "TOLERANCE", 0.0)
    monkeypatch.setattr(SoftmaxRegression.minimise, "__kwdefaults__", {"tolerance": 0.0, "max_iterations": 2})
    with pytest.warns(lbfgs.ConvergenceWarning, match="before it had converged"):
        lbfgs.fit_seeds(probe_data(), protocol("lbfgs-linear"), [0])


@given(scale=st.sampled_from([1e-3, 1.0, 50.0, 1e4]), seed=st.integers(0, 1000))
def test_loss_and_errors_are_those_of_autograd_in_double_precision(scale, seed):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy((scale * rng.normal(size=(30, 4))).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 4, 30))
    fitted = torch.from_numpy(rng.random(30) < 0.7) | (torch.arange(30) == 0)
    loss, errors = CrossEntropy(y, fitted), torch.empty(30, 4)
    near = 1e-5 + 5e-7 * float(logits.abs().max())  # what differences of logits lose to rounding
    exact = logits.double().requires_grad_()
    value = torch.nn.functional.cross_entropy(exact[fitted], y[fitted])
    value.backward()
    value = float(value.detach())
    assert loss.loss(logits) == pytest.approx(value, rel=near, abs=1e-30)
    spread = loss.errors(logits, errors)
    np.testing.assert_allclose(errors.numpy(), exact.grad.numpy(), rtol=near, atol=1e-12)
    p = torch.softmax(exact.detach()[fitted], 1)
    assert spread == pytest.approx(float((p * (1 - p)).mean()), rel=10 * near, abs=1e-7)
    along, slope = loss.along(logits, logits, 0.0)
    assert along == pytest.approx(value, rel=near, abs=1e-30)
    assert slope == pytest.approx(float((exact.grad * exact.detach()).sum()), rel=1e-3, abs=near * scale)
