from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from sparsebench import masks
from sparsebench.pruning.acdc import ACDC
from sparsebench.pruning.base import PruningMethod, TrainState
from sparsebench.pruning.gmp import GMP
from sparsebench.pruning.methods import METHODS, get_method
from sparsebench.schema import UnknownNameError

STEPS = 100


def training(method: PruningMethod) -> list[tuple[TrainState, dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
    """Train a small network for 100 steps; return (state, masks, weights) as they are after each step."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=1e-3, nesterov=True)
    state = TrainState(model, optimizer, masks.prunable(model), STEPS)
    history = []
    for _ in range(STEPS):
        method.before_step(state)
        method.gradients(state, torch.randn(16, 8), torch.randint(4, (16,)))
        method.update(state)
        state.step += 1
        history.append((state, dict(state.masks), {k: w.detach().clone() for k, w in state.weights.items()}))
    method.before_saving(state)
    return history


def test_acdc_alternates_with_masks_constant_inside_a_phase() -> None:
    method = ACDC(0.75)
    history = training(method)
    for start, sparse in method.phases.boundaries(STEPS):
        assert bool(history[start][1]) == sparse
    for before, after in pairwise(history[10:15]):  # inside the first sparse phase
        assert all(torch.equal(before[1][k], after[1][k]) for k in before[1])
    for _, mask, weights in history:
        for name in mask:
            assert torch.count_nonzero(weights[name][~mask[name]]) == 0
    final_masks, final = history[-1][1], history[-1][2]
    assert sum(int((~m).sum()) for m in final_masks.values()) == round(0.75 * (128 + 64))
    assert sum(int((w == 0).sum()) for w in final.values()) == round(0.75 * (128 + 64))


def test_acdc_restores_weights_at_zero_and_clears_momentum() -> None:
    method = ACDC(0.75)
    seen = []

    class Watched(ACDC):
        def before_step(self, state: TrainState) -> None:
            old = dict(state.masks)
            super().before_step(state)
            if old and not state.masks:
                off = [w.detach()[~old[k]] for k, w in state.weights.items()]
                buffers = [s["momentum_buffer"] for s in state.optimizer.state.values()]
                seen.append(
                    (state.step, all(bool((o == 0).all()) for o in off), max(float(b.abs().max()) for b in buffers))
                )

    training(Watched(0.75))
    assert [step for step, _, _ in seen] == [s for s, sparse in method.phases.boundaries(STEPS) if not sparse and s]
    assert all(zero and largest == 0.0 for _, zero, largest in seen)


def test_acdc_keeps_the_dense_twin_of_the_last_dense_phase() -> None:
    method = ACDC(0.75)
    history = training(method)
    assert method.twin is not None
    before_last_pruning = history[84][2]
    for name, weight in before_last_pruning.items():
        assert torch.equal(method.twin[name], weight)
        assert torch.count_nonzero(method.twin[name] == 0) == 0
    restored = ACDC(0.75)
    restored.load_state_dict(method.state_dict())
    assert restored.twin is not None
    assert all(torch.equal(restored.twin[k], method.twin[k]) for k in method.twin)


def test_gmp_only_ever_prunes_further() -> None:
    history = training(GMP(0.8))
    sparsities = [sum(int((~m).sum()) for m in mask.values()) / 192 for _, mask, _ in history]
    assert sparsities[0] == pytest.approx(0.05, abs=0.01)
    assert sparsities == sorted(sparsities)
    assert sparsities[60] == pytest.approx(0.8, abs=0.003)
    for (_, before, _), (_, after, _) in pairwise(history):
        for name in before:
            assert not bool((after[name] & ~before[name]).any())


def test_methods_are_registered_under_their_names() -> None:
    assert set(METHODS) >= {"dense", "gmp", "acdc"}
    assert all(METHODS[name].name == name for name in METHODS)
    with pytest.raises(UnknownNameError, match="did you mean acdc"):
        get_method("acd")
