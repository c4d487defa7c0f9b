from __future__ import annotations

import itertools

import pytest
import torch
from smallnet import pruned, small_state, train

from sparsebench.pruning.methods.lth import LTH
from sparsebench.pruning.schedules import LearningRate
from sparsebench.pruning.state import TrainState


def test_rounds_end_exactly_at_the_sparsities_asked_for() -> None:
    method = LTH(0.95, also=(0.8, 0.9))
    assert method.default_epochs(method.training) == len(method.rounds) == 13
    assert [method.rounds[i] for i in (6, 9, 12)] == [0.8, 0.9, 0.95]
    densities = [1 - s for s in [0.0, *method.rounds]]
    for before, after in itertools.pairwise(densities):
        assert 1 - after / before == pytest.approx(0.2, abs=0.011)  # "about a fifth" of what is left


def test_after_a_rewind_what_survives_equals_the_pretrained_network() -> None:
    rewinds = []

    class Watched(LTH):
        def before_step(self, state: TrainState) -> None:
            trained = {n: w.detach().clone() for n, w in state.weights.items()}
            old = dict(state.masks)
            super().before_step(state)
            if state.step and state.step in self.round_starts(state.total_steps):
                rewinds.append(state.step)
                for name, value in state.model.state_dict().items():
                    mask = state.masks.get(name, torch.ones_like(value, dtype=torch.bool))
                    assert torch.equal(value[mask], pretrained[name][mask])
                    assert not value[~mask].any()
                alive = {n: old.get(n, torch.ones_like(w, dtype=torch.bool)) for n, w in trained.items()}
                kept = torch.cat([trained[n][state.masks[n]].abs() for n in trained])
                gone = torch.cat([trained[n][alive[n] & ~state.masks[n]].abs() for n in trained])
                assert kept.min() >= gone.max()
                assert not any(bool((state.masks[n] & ~alive[n]).any()) for n in trained)
                assert not any(s["momentum_buffer"].any() for s in state.optimizer.state.values())

    method = Watched(0.9, also=(0.8,))
    state = small_state(method)
    pretrained = state.snapshot()
    train(method, state)
    assert rewinds == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    results = list(method.results(state))
    assert [r.sparsity for r in results] == [0.8, 0.9]
    for result in results:
        assert pruned(dict(result.masks)) == round(result.sparsity * 192)
        for name, value in result.state.items():
            mask = result.masks.get(name, torch.ones_like(value, dtype=torch.bool))
            assert torch.equal(value[mask], pretrained[name][mask])


def test_each_round_plays_the_whole_learning_rate_schedule() -> None:
    method = LTH(0.36)  # two rounds of a fifth
    assert len(method.rounds) == 2
    rates = [method.learning_rate(step, 100, LearningRate(0.02)) for step in range(100)]
    assert rates[:50] == rates[50:]
    assert max(rates) == pytest.approx(0.02)
