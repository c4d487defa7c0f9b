"""How far a head is from the best one, against autograd and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from examples import probe_data, problem, protocol
from sklearn.linear_model import LogisticRegression

from sparsebench import probes
from sparsebench.schema import Convergence, Protocol
from sparsebench.transfer.probes import rotation, sgd
from sparsebench.transfer.probes.data import ProbeData
from sparsebench.transfer.probes.rows import Rows


def settings(**changes) -> Protocol:
    fixed = {"name": "test", "mode": "linear", "probe": "sgd", "lr": 0.05, "epochs": 5, "weight_decay": 0.01}
    return Protocol.model_validate(fixed | changes)


def data_of(n=150, n_val=0, **more) -> ProbeData:
    return probe_data(n, n_val, **more)


def objective_and_gradient(head, x, y, decay) -> tuple[float, float]:
    """By autograd, in double precision, as torch.optim.SGD's weight decay has it: on the bias too."""
    weight, bias = (torch.from_numpy(a).double().requires_grad_() for a in (head.weight, head.bias))
    logits = torch.from_numpy(x).double() @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y))
    loss = loss + decay / 2 * (weight.square().sum() + bias.square().sum())
    loss.backward()
    return float(loss.detach()), math.sqrt(float(weight.grad.square().sum() + bias.grad.square().sum()))


def minimum(x, y, decay) -> float:
    """By scikit-learn, whose C multiplies the summed loss; the column of ones is penalised as the bias is."""
    extended = np.concatenate([x, np.ones((len(x), 1))], 1).astype(np.float64)
    solver = LogisticRegression(C=1 / (len(x) * decay), fit_intercept=False, tol=1e-10, max_iter=20_000)
    weight = solver.fit(extended, y).coef_
    logits = torch.from_numpy(extended @ weight.T)
    return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(y))) + decay / 2 * float((weight**2).sum())


@pytest.mark.parametrize("spread", [0.3, 2.0], ids=["separable", "overlapping"])
@pytest.mark.parametrize("decay", [1e-4, 0.02])
@pytest.mark.parametrize("train_on", ["train", "trainval"])
def test_the_gap_is_scikit_learns_and_the_gradient_autograds(spread, decay, train_on):
    data = data_of(120, 40, spread=spread)
    (fitted,) = sgd.fit_seeds(data, settings(weight_decay=decay, train_on=train_on), [3])
    kept = 120 if train_on == "train" else 160
    x, y = np.concatenate(data.x.blocks)[:kept], data.y[:kept]
    objective, norm = objective_and_gradient(fitted.head, x, y, decay)
    best, found = minimum(x, y, decay), fitted.convergence
    assert found.objective == pytest.approx(objective, rel=1e-6)
    assert found.gradient_norm == pytest.approx(norm, rel=1e-4)
    assert found.optimum == pytest.approx(best, rel=1e-3)
    assert found.gap == pytest.approx(objective - best, rel=1e-2, abs=1e-3 * best)
    assert found.relative_gap == pytest.approx(found.gap / (math.log(5) - found.optimum))
    assert found.penalty == decay


def test_training_longer_closes_the_gap_and_too_short_is_underfit():
    data = data_of(spread=2.0)
    short, long = (sgd.fit_seeds(data, settings(lr=r, epochs=e), [0])[0] for r, e in ((1e-4, 1), (0.01, 400)))
    assert short.convergence.underfit
    assert not long.convergence.underfit
    assert long.convergence.gap < 0.01 < short.convergence.gap
    assert long.convergence.gradient_norm < short.convergence.gradient_norm


def test_without_weight_decay_the_loss_itself_is_compared():
    (fitted,) = sgd.fit_seeds(data_of(spread=0.3), settings(weight_decay=0.0), [0])
    found = fitted.convergence
    assert found.objective == pytest.approx(fitted.train_loss)
    assert 0 <= found.optimum < 1e-4
    assert found.gap == pytest.approx(found.objective, rel=1e-2)


def test_one_optimum_serves_all_seeds_and_points_of_a_protocol(monkeypatch):
    made: list[int] = []
    original = rotation.RotatedFeatures.__init__

    def counted(self, *args):
        made.append(1)
        original(self, *args)

    monkeypatch.setattr(rotation.RotatedFeatures, "__init__", counted)
    data = data_of(spread=2.0)
    first = sgd.fit_seeds(data, settings(), [0, 1, 2])
    again = sgd.fit_seeds(data, settings(), [3])
    assert len(made) == 1
    assert len({entry.convergence.optimum for entry in (*first, *again)}) == 1
    assert len({entry.convergence.objective for entry in (*first, *again)}) == 4


def test_the_optimum_changes_no_bit_of_the_head():
    data = data_of(spread=2.0)
    (fitted,) = sgd.fit_seeds(data, settings(), [7])
    alone = sgd.fit(np.concatenate(data.x.blocks), data.y, 5, settings(), 7)
    assert fitted.head.weight.tobytes() == alone.weight.tobytes()


def test_features_too_large_to_square_have_no_optimum_and_are_trained_all_the_same():
    x, y = problem(60)
    data = ProbeData(Rows([x * np.float32(1e25)]), y, 60, x[:5], y[:5], 5)
    (fitted,) = sgd.fit_seeds(data, settings(lr=1e-30, weight_decay=1e-8, epochs=1), [0])
    assert fitted.convergence is None
    assert np.isfinite(fitted.head.weight).all()


def test_lbfgs_has_converged():
    data = data_of(spread=2.0)
    (fitted,) = probes.get("lbfgs")(data, protocol("lbfgs-linear"), [0])
    found, decay = fitted.convergence, fitted.chosen.settings["l2"] / 150
    x = np.concatenate(data.x.blocks)
    assert found.penalty == pytest.approx(decay)
    assert found.objective == pytest.approx(objective_and_gradient(fitted.head, x, data.y, decay)[0], rel=1e-6)
    assert found.optimum == pytest.approx(minimum(x, data.y, decay), rel=1e-4)
    assert not found.underfit


@pytest.mark.parametrize("name", ["cvpr22", "lbfgs", "ridge", "knn", "fewshot"])
def test_a_linear_head_on_the_features_gives_the_logits(name):
    changes = {"epochs": 5} if name == "cvpr22" else {}
    data, rules = data_of(spread=2.0), protocol(f"{name}-linear", **changes)
    (fitted,) = probes.get(rules.probe)(data, rules, [0])
    if name in ("knn", "fewshot"):
        assert fitted.head is None
        return
    assert (fitted.head.weight.shape, fitted.head.bias.shape) == ((5, 20), (5,))
    logits = data.x_test.astype(np.float64) @ fitted.head.weight.T.astype(np.float64) + fitted.head.bias
    np.testing.assert_allclose(fitted.test_logits, logits, rtol=1e-4, atol=1e-5 * np.abs(logits).max())


def test_a_record_keeps_it():
    found = Convergence(gradient_norm=0.1, objective=1.0, optimum=0.5, gap=0.5, relative_gap=0.3, penalty=5e-4)
    assert Convergence.model_validate_json(found.model_dump_json()) == found
    assert found.underfit
