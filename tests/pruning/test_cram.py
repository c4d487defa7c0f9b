from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from smallnet import sample, small_state, train
from torch.func import functional_call

from sparsebench.pruning.base import PruningMethod
from sparsebench.pruning.methods.cram import CrAM
from sparsebench.pruning.methods.dense import Dense
from sparsebench.pruning.methods.magnitude import Magnitude


@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_the_gradient_is_that_of_the_equation(sparsity: float) -> None:
    method = CrAM(0.9, rho=0.5)
    state = small_state(method)
    state.model.double()
    images, labels = next(sample(1, 16))
    images = images.double()
    twin = copy.deepcopy(state.model)

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.cross_entropy(functional_call(twin, parameters, (images,)), labels)

    theta = {n: p.detach().clone().requires_grad_() for n, p in state.model.named_parameters()}
    g = dict(zip(theta, torch.autograd.grad(loss(theta), list(theta.values())), strict=True))
    moved = {n: (p + 0.5 * g[n]).detach() for n, p in theta.items()}
    magnitudes = torch.cat([moved[n].abs().flatten() for n in state.weights])
    threshold = magnitudes.sort(descending=True).values[192 - round(sparsity * 192) - 1]
    mask = {n: moved[n].abs() >= threshold for n in state.weights}
    compressed = {n: (p * mask[n] if n in mask else p).requires_grad_() for n, p in moved.items()}
    h = dict(zip(theta, torch.autograd.grad(loss(compressed), list(compressed.values())), strict=True))
    expected = {n: g[n] + (h[n] * mask[n] if n in mask else h[n]) for n in theta}

    before = state.snapshot()
    statistics = torch.nn.BatchNorm1d(16).double()
    statistics.train()(state.model[0](images))  # one pass only moves the running statistics
    found = method.perturbed_gradients(state, images, labels, sparsity)
    assert float(found) == pytest.approx(float(loss(theta).detach()), rel=1e-6)
    for name, parameter in state.model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-7)
        assert torch.equal(parameter.detach(), before[name])
    torch.testing.assert_close(state.model[1].running_mean, statistics.running_mean)
    assert int(state.model[1].num_batches_tracked) == 1


def test_the_compression_is_drawn_anew_at_each_step_and_an_nm_pattern_is_the_one_given() -> None:
    drawn = []

    class Watched(CrAM):
        def masks(self, scores: dict[str, torch.Tensor], sparsity: float) -> dict[str, torch.Tensor]:  # type: ignore[override]
            drawn.append(sparsity)
            return super().masks(scores, sparsity)

    method = Watched(0.9)
    train(method, small_state(method))
    assert set(drawn) == {0.5, 0.7, 0.9}
    drawn.clear()
    method = Watched(0.5, "nm", (2, 4))
    train(method, small_state(method))
    assert set(drawn) == {0.5}


def test_one_training_gives_the_dense_network_and_its_one_shot_prunings() -> None:
    method = CrAM(0.9, also=(0.8,))
    state = small_state(method)
    train(method, state)
    weights = {n: w.detach().clone() for n, w in state.weights.items()}
    dense, low, high = method.results(state)
    assert [r.sparsity for r in (dense, low, high)] == [0.0, 0.8, 0.9]
    for name, weight in weights.items():
        assert torch.equal(dense.state[name], weight)
        for result in (low, high):
            assert torch.equal(result.state[name], weight * result.masks[name])


def _lost(method: PruningMethod, seed: int) -> tuple[float, float]:
    """Train; return accuracy, and accuracy after one-shot pruning to 80 % with batch norm re-tuned."""
    state = small_state(method, 400, seed=seed)
    train(method, state)
    torch.manual_seed(99)
    images, labels = next(sample(1, 4000))

    def accuracy() -> float:
        state.model.eval()
        return float((state.model(images).argmax(1) == labels).float().mean())

    whole = accuracy()
    for _ in Magnitude(0.8).results(state):
        pass
    return whole, accuracy()


@pytest.mark.slow
def test_a_cram_network_loses_less_when_pruned_at_once_than_a_dense_one() -> None:
    cram = [_lost(CrAM(0.9), seed) for seed in range(3)]
    dense = [_lost(Dense(0.0), seed) for seed in range(3)]
    loss = [sum(a - b for a, b in pairs) / 3 for pairs in (cram, dense)]
    print(cram, dense)
    assert loss[0] < loss[1] - 0.03
