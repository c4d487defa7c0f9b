from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsebench import probes
from sparsebench.schema import InputError, Protocol, RunError, UnknownNameError
from sparsebench.transfer.probes import heads, sgd
from sparsebench.transfer.probes.base import default_linear, generator


def protocol(**changes) -> Protocol:
    settings = {"name": "test", "mode": "linear", "probe": "sgd", "lr": 0.01, "epochs": 4, "milestones": (1, 3)}
    return Protocol.model_validate(settings | changes)


def problem(n=150, d=20, classes=5, seed=0):
    """Non-negative features, as after a ReLU, around one centre per class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    centres = rng.normal(size=(classes, d))
    return np.maximum(centres[y] + rng.normal(size=(n, d)), 0).astype(np.float32), y.astype(np.int64)


def reference(x, y, classes, settings: Protocol, seed: int) -> nn.Linear:
    """The same protocol by nn.Linear, autograd and torch.optim.SGD, from the same start and in the same order."""
    layer = nn.Linear(x.shape[1], classes)
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), default_linear(classes, x.shape[1], seed), strict=True):
            parameter.copy_(value)
    optimizer = torch.optim.SGD(
        layer.parameters(), settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    order, features, labels = generator(seed, "order"), torch.from_numpy(x), torch.from_numpy(y)
    for epoch in range(settings.epochs):
        optimizer.param_groups[0]["lr"] = settings.lr_at(epoch)
        for index in torch.randperm(len(x), generator=order).split(settings.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(layer(features[index]), labels[index]).backward()
            optimizer.step()
    return layer


@given(
    n=st.integers(2, 150),
    d=st.integers(1, 40),
    batch_size=st.integers(1, 70),
    momentum=st.sampled_from([0.0, 0.9]),
    weight_decay=st.sampled_from([0.0, 5e-4, 0.1]),
    seed=st.integers(0, 2**31),
)
def test_equals_torchs_optimizer(n, d, batch_size, momentum, weight_decay, seed):
    x, y = problem(n, d)
    rules = protocol(batch_size=batch_size, momentum=momentum, weight_decay=weight_decay)
    head, expected = sgd.fit(x, y, 5, rules, seed), reference(x, y, 5, rules, seed)
    np.testing.assert_allclose(head.weight, expected.weight.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(head.bias, expected.bias.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert head.weight.shape == (5, d)
    assert head.bias.shape == (5,)


def test_learning_rate_drops_change_the_result():
    x, y = problem()
    assert not np.array_equal(
        sgd.fit(x, y, 5, protocol(), 0).weight, sgd.fit(x, y, 5, protocol(milestones=()), 0).weight
    )


def test_a_seed_gives_the_same_bits_whatever_ran_before():
    x, y = problem()
    alone = sgd.fit(x, y, 5, protocol(), 21)
    torch.manual_seed(99)
    torch.rand(7)
    sgd.fit(*problem(40, 7), 5, protocol(), 51)
    again = sgd.fit(x, y, 5, protocol(), 21)
    np.testing.assert_array_equal(alone.weight, again.weight)
    np.testing.assert_array_equal(alone.bias, again.bias)


def test_fitting_leaves_the_global_generator_alone():
    x, y = problem()
    state = torch.random.get_rng_state()
    sgd.fit(x, y, 5, protocol(), 0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_seeds_differ_in_start_and_order():
    assert not torch.equal(default_linear(5, 20, 0)[0], default_linear(5, 20, 1)[0])
    assert not torch.equal(
        torch.randperm(50, generator=generator(0, "order")), torch.randperm(50, generator=generator(1, "order"))
    )
    x, y = problem()
    assert not np.array_equal(sgd.fit(x, y, 5, protocol(), 0).weight, sgd.fit(x, y, 5, protocol(), 1).weight)


def test_how_much_is_permuted_at_a_time_does_not_matter(monkeypatch):
    x, y = problem(n=150)
    whole = sgd.fit(x, y, 5, protocol(batch_size=16), 3)
    monkeypatch.setattr(heads, "_CHUNK_BYTES", 1)
    np.testing.assert_array_equal(sgd.fit(x, y, 5, protocol(batch_size=16), 3).weight, whole.weight)


def test_start_is_nn_linears_distribution():
    weight, bias = default_linear(200, 64, 5)
    bound = 1 / 8
    for value in (weight, bias):
        assert float(value.abs().max()) <= bound
        assert float(value.std()) == pytest.approx(bound / 3**0.5, rel=0.15)
        assert float(value.max()) > 0.9 * bound


def test_features_as_read_only_or_strided_arrays():
    x, y = problem()
    expected = sgd.fit(x, y, 5, protocol(), 0)
    wide = np.repeat(x, 2, axis=1)
    strided = wide[:, ::2]
    np.testing.assert_array_equal(sgd.fit(strided, y, 5, protocol(), 0).weight, expected.weight)
    before = x.copy()
    sgd.fit(x, y, 5, protocol(), 0)
    np.testing.assert_array_equal(x, before)


def test_divergence_names_epoch_seed_and_rate():
    x, y = problem()
    with pytest.raises(RunError, match=r"diverged in epoch \d+ of 40 \(seed 7, learning rate 1e\+30\)") as caught:
        sgd.fit(x * 1e8, y, 5, protocol(lr=1e30, epochs=40, milestones=()), 7)
    assert "lower learning rate" in caught.value.hint


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((0, 3), np.float32), np.zeros(0, np.int64)),
        (np.zeros((4, 3), np.float32), np.zeros(5, np.int64)),
        (np.zeros(4, np.float32), np.zeros(4, np.int64)),
        (np.zeros((4, 3), np.float32), np.array([0, 1, 2, 5])),
        (np.zeros((4, 3), np.float32), np.array([0, 1, 2, -1])),
    ],
    ids=["empty", "lengths", "one-dimensional", "label-too-large", "label-negative"],
)
def test_what_does_not_fit_is_refused(x, y):
    with pytest.raises(InputError):
        sgd.fit(x, y, 5, protocol(), 0)


def test_progress_counts_epochs():
    seen = []
    sgd.fit(*problem(), 5, protocol(), 0, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4, 4)


def test_the_nearest_probe_is_named():
    with pytest.raises(UnknownNameError, match="did you mean sgd"):
        probes.get("sdg")
