from __future__ import annotations

from itertools import pairwise

import torch
from smallnet import STEPS, pruned, small_state, train

from sparsebench.pruning.methods.acdc import ACDC
from sparsebench.pruning.state import TrainState


def test_phases_alternate_with_masks_constant_inside_one() -> None:
    method = ACDC(0.75)
    history = train(method, small_state(method))
    for start, sparse in method.boundaries(STEPS):
        assert bool(history[start].masks) == sparse
    for before, after in pairwise(history[10:15]):  # inside the first sparse phase
        assert all(torch.equal(before.masks[k], after.masks[k]) for k in before.masks)
    for moment in history:
        assert pruned(moment.masks) in (0, round(0.75 * 192))
        for name, mask in moment.masks.items():
            assert torch.count_nonzero(moment.weights[name][~mask]) == 0
    assert sum(int((w == 0).sum()) for w in history[-1].weights.values()) == round(0.75 * 192)


def test_masks_are_the_largest_magnitudes_at_the_start_of_a_phase() -> None:
    method = ACDC(0.75)
    history = train(method, small_state(method))
    before, mask = history[84].weights, history[85].masks
    kept = torch.cat([before[k][mask[k]].abs() for k in mask])
    gone = torch.cat([before[k][~mask[k]].abs() for k in mask])
    assert kept.min() >= gone.max()


def test_restored_weights_start_at_zero_and_momentum_is_cleared() -> None:
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

    method = Watched(0.75)
    history = train(method, small_state(method))
    assert [step for step, _, _ in seen] == [s for s, sparse in method.boundaries(STEPS) if not sparse and s]
    assert all(zero and largest == 0.0 for _, zero, largest in seen)
    assert any(w.count_nonzero() == w.numel() for w in history[19].weights.values())  # they train again


def test_the_dense_twin_is_the_network_at_the_end_of_the_last_dense_phase() -> None:
    method = ACDC(0.75)
    state = small_state(method)
    history = train(method, state)
    sparse, twin = method.results(state)
    assert (sparse.sparsity, twin.sparsity) == (0.75, 0.0)
    assert pruned(dict(sparse.masks)) == round(0.75 * 192)
    for name, weight in history[84].weights.items():
        assert torch.equal(twin.state[name], weight)
        assert torch.count_nonzero(twin.state[name] == 0) == 0
    restored = ACDC(0.75)
    restored.load_state_dict(method.state_dict())
    assert restored.twin is not None
    assert all(torch.equal(restored.twin[k], twin.state[k]) for k in twin.state)
