from __future__ import annotations

import torch
from smallnet import sample, small_state, train

from sparsebench.pruning.batch_norm import frozen_statistics, retune
from sparsebench.pruning.methods.dense import Dense
from sparsebench.pruning.methods.magnitude import Magnitude


def test_kept_weights_are_the_largest_and_unchanged_at_each_sparsity() -> None:
    state = small_state(Dense(0.0))
    train(Dense(0.0), state)
    dense = state.snapshot()
    low, high = Magnitude(0.9, also=(0.5,)).results(state)
    for result in (low, high):
        magnitudes = torch.cat([dense[n].abs().flatten() for n in state.weights])
        smallest_kept = magnitudes.sort().values[round(result.sparsity * 192)]
        for name in state.weights:
            assert torch.equal(result.masks[name], dense[name].abs() >= smallest_kept)
            assert torch.equal(result.state[name], dense[name] * result.masks[name])
        assert torch.equal(result.state["0.bias"], dense["0.bias"])
        assert not torch.equal(result.state["1.running_mean"], dense["1.running_mean"])


def test_retuned_statistics_are_the_averages_over_the_sampled_images() -> None:
    state = small_state(Dense(0.0))
    train(Dense(0.0), state)
    weights = {n: p.detach().clone() for n, p in state.model.named_parameters()}
    torch.manual_seed(7)
    retune(state, images=300, batch=100)
    torch.manual_seed(7)
    before = [state.model[0](images).detach() for images, _ in sample(3, 100)]
    norm = state.model[1]
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean(0) for b in before]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([b.var(0) for b in before]).mean(0))
    assert all(torch.equal(p, weights[n]) for n, p in state.model.named_parameters())
    assert norm.momentum == 0.1


def test_frozen_statistics_normalise_by_the_batch_and_remember_nothing() -> None:
    model = small_state(Dense(0.0)).model.train()
    images = next(sample(1, 16))[0]
    norm = model[1]
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    with frozen_statistics(model):
        frozen = model(images)
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())
    torch.testing.assert_close(model(images), frozen)
    assert int(norm.num_batches_tracked) == 1
