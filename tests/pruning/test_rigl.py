from __future__ import annotations

import math

import pytest
import torch
from smallnet import STEPS, small_state, train
from torch import nn

from sparsebench.pruning.distributions import erk_densities
from sparsebench.pruning.methods.rigl import RigL
from sparsebench.pruning.state import TrainState


def test_the_fraction_that_moves_is_annealed_by_a_cosine() -> None:
    method = RigL(0.9)
    assert method.fraction(0, 1000) == pytest.approx(0.3)
    assert method.fraction(375, 1000) == pytest.approx(0.15)  # half of the way to 750
    assert method.fraction(250, 1000) == pytest.approx(0.15 * (1 + math.cos(math.pi / 3)))
    steps = method.update_steps(12_000)
    assert steps[:3] == [75, 150, 225]
    assert steps[-1] == 9000
    assert len(steps) == 120


def test_the_first_masks_have_erk_densities_and_layers_keep_their_numbers() -> None:
    method = RigL(0.8, updates=15)
    state = small_state(method)
    history = train(method, state)
    densities = erk_densities({n: tuple(w.shape) for n, w in state.weights.items()}, 0.8)
    for name, density in densities.items():
        counts = {int(moment.masks[name].sum()) for moment in history}
        assert len(counts) == 1
        assert abs(counts.pop() - density * state.weights[name].numel()) < 1
    changes = [i for i in range(1, STEPS) if not _same(history[i].masks, history[i - 1].masks)]
    assert set(changes) <= set(method.update_steps(STEPS))
    assert len(changes) >= 10


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


def test_an_update_drops_the_smallest_grows_the_steepest_and_moves_no_weight() -> None:
    seen = 0

    class Watched(RigL):
        def update(self, state: TrainState) -> None:
            nonlocal seen
            before = {n: w.detach().clone() for n, w in state.weights.items()}
            others = {n: p.detach().clone() for n, p in state.model.named_parameters() if n not in before}
            gradients = {n: w.grad.clone() for n, w in state.weights.items()}
            old = dict(state.masks)
            super().update(state)
            if state.step not in self.update_steps(state.total_steps):
                return
            seen += 1
            assert all(torch.equal(dict(state.model.named_parameters())[n], p) for n, p in others.items())
            for name, weight in state.weights.items():
                count = int(self.fraction(state.step, state.total_steps) * int(old[name].sum()))
                active = sorted(torch.nonzero(old[name].flatten()).flatten().tolist())
                by_size = sorted(active, key=lambda i: float(before[name].flatten()[i].abs()))
                kept = set(by_size[count:])
                free = [i for i in range(weight.numel()) if i not in kept]  # the just-dropped may return
                steep = sorted(free, key=lambda i: -float(gradients[name].flatten()[i].abs()))[:count]
                assert set(torch.nonzero(state.masks[name].flatten()).flatten().tolist()) == kept | set(steep)
                momentum = state.optimizer.state[weight]["momentum_buffer"].flatten()
                back = set(steep) & set(active)
                for i in set(range(weight.numel())) - kept - back:
                    assert float(weight.detach().flatten()[i]) == 0.0
                    assert float(momentum[i]) == 0.0
                same = sorted(kept | back)
                assert torch.equal(weight.detach().flatten()[same], before[name].flatten()[same])

    method = Watched(0.6, updates=15)
    train(method, small_state(method))
    assert seen == 15


def _layer(weight: list[float], gradient: list[float], mask: list[bool]) -> TrainState:
    """Return the state of one linear layer with these gradients, and momentum 1 to n at its weights."""
    model = nn.Linear(len(weight), 1, bias=False)
    parameter = model.weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with torch.no_grad():
        parameter.copy_(torch.tensor([weight]))
    parameter.grad = torch.tensor([gradient])
    optimizer.state[parameter]["momentum_buffer"] = torch.arange(1.0, len(weight) + 1)[None]
    state = TrainState(model, optimizer, {"weight": parameter}, 100, lambda count, size: iter(()))
    state.masks = {"weight": torch.tensor([mask])}
    return state


def test_a_connection_that_is_dropped_and_grows_again_keeps_its_value_and_its_momentum() -> None:
    # two of four connections are dropped, those of 0.1 and 0.2; the gradient brings back 0.2 and a new one
    state = _layer([0.1, 0.2, 0.3, -0.4, 0.0, 0.0], [0.0, 9.0, 0.0, 0.0, 1.0, 5.0], [True] * 4 + [False] * 2)
    RigL(0.5).move(state, 0.5)
    assert state.masks["weight"].tolist() == [[False, True, True, True, False, True]]
    weight = state.weights["weight"]
    assert weight.tolist() == [[0.0, pytest.approx(0.2), pytest.approx(0.3), pytest.approx(-0.4), 0.0, 0.0]]
    assert state.optimizer.state[weight]["momentum_buffer"].tolist() == [[0, 2, 3, 4, 0, 0]]


def test_in_an_almost_dense_layer_as_many_are_dropped_as_elsewhere() -> None:
    # one position is free, two connections are dropped: the free one is grown, and the steeper of the two dropped
    state = _layer([0.1, 0.2, 0.3, 0.4, 0.0], [1.0, 2.0, 0.0, 0.0, 3.0], [True] * 4 + [False])
    RigL(0.5).move(state, 0.5)
    assert state.masks["weight"].tolist() == [[False, True, True, True, True]]
    assert state.weights["weight"].tolist()[0] == [0.0, *map(pytest.approx, (0.2, 0.3, 0.4)), 0.0]


def test_a_dense_layer_stays_as_it_is() -> None:
    state = _layer([0.1, 0.2, 0.3], [1.0, 2.0, 3.0], [True] * 3)
    RigL(0.5).move(state, 0.7)
    assert state.masks["weight"].all()
    assert state.weights["weight"].tolist() == [[pytest.approx(v) for v in (0.1, 0.2, 0.3)]]
