from __future__ import annotations

import pytest
import torch
from smallnet import STEPS, pruned, sample, small_state, train

from sparsebench.pruning.methods.soft_threshold import STR
from sparsebench.pruning.schedules import cubic_sparsity
from sparsebench.pruning.thresholds import SoftThreshold


def test_the_effective_weight_and_its_gradients() -> None:
    layer = SoftThreshold(-1.0).double()
    weight = torch.tensor([-0.9, -0.2, 0.0, 0.26, 0.27, 1.5], dtype=torch.float64, requires_grad=True)
    threshold = 1 / (1 + torch.e)  # 0.2689
    expected = [-(0.9 - threshold), 0.0, 0.0, 0.0, 0.27 - threshold, 1.5 - threshold]
    assert layer(weight).tolist() == pytest.approx(expected, abs=1e-7)
    (layer(weight) * torch.arange(6.0)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [0, 0, 0, 0, 4, 5]
    # d/ds: -sign(w) sigmoid'(s) for each weight above the threshold
    slope = threshold * (1 - threshold)
    assert float(layer.s.grad) == pytest.approx(-slope * (-0 + 4 + 5), abs=1e-7)


def test_the_schedule_is_followed_and_layers_learn_their_own_thresholds() -> None:
    method = STR(0.8, every=1)
    state = small_state(method)
    followed = []

    while state.step < STEPS:
        method.before_step(state)
        if state.step >= 5:
            wanted = cubic_sparsity(state.step / STEPS, 0.0, 0.8, 0.05, 0.5)
            followed.append(abs(method.current_sparsity(state) - wanted))
        method.gradients(state, *next(sample(1, 16)))
        method.update(state)
        state.step += 1
    assert max(followed) <= 2 / 192
    thresholds = [float(p.detach()) for n, p in state.model.named_parameters() if n.endswith(".s")]
    assert len(set(thresholds)) == 2


def test_the_stored_weights_are_the_thresholded_ones_exactly_at_the_target() -> None:
    method = STR(0.8)
    state = small_state(method)
    train(method, state)
    method.move_thresholds(0.8)
    state.model.eval()
    inputs = next(sample(1, 32))[0]
    expected = state.model(inputs).detach()
    (result,) = method.results(state)
    assert pruned(dict(result.masks)) == round(0.8 * 192)
    assert set(result.masks) == {"0.weight", "3.weight"}
    assert not any("parametrizations" in key for key in result.state)
    torch.testing.assert_close(state.model(inputs), expected)
    for name, mask in result.masks.items():
        assert not result.state[name][~mask].any()
