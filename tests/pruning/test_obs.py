"""WoodFisher and M-FAC against dense linear algebra, on gradients small enough to invert."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from smallnet import pruned, sample, small_state, train
from torch import Tensor

from sparsebench.pruning.fisher import BlockInverse, Blocks, MatrixFreeInverse
from sparsebench.pruning.methods.mfac import MFAC
from sparsebench.pruning.methods.woodfisher import WoodFisher
from sparsebench.pruning.obs import OBS
from sparsebench.schema import InputError, RunError

SIZES = [7, 12]
DAMP = 1e-3


def gradients(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, sum(SIZES), dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def dense_inverse(rows: Tensor, damp: float, blocks: list[int] | None = None) -> Tensor:
    """The inverse of ``damp I + 1/N sum g g^T``; outside of the diagonal blocks of given sizes the sum is zero."""
    fisher = rows.T @ rows / len(rows)
    if blocks is not None:
        owner = torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor(blocks))
        fisher = fisher * (owner[:, None] == owner[None, :])
    return torch.linalg.inv(fisher + damp * torch.eye(len(fisher), dtype=fisher.dtype))


@given(st.integers(1, 20), st.integers(0, 99))
def test_woodfishers_recursion_gives_the_inverse_of_each_block(count: int, seed: int) -> None:
    rows = gradients(count, seed)
    inverse = BlockInverse(Blocks(SIZES, 5), count, DAMP, rows)
    for row in rows:
        inverse.add(row)
    expected = dense_inverse(rows, DAMP, [5, 2, 5, 5, 2])  # blocks don't cross from a layer to the next
    torch.testing.assert_close(inverse.diagonal(), expected.diagonal(), rtol=1e-7, atol=1e-7)
    vector = gradients(1, seed + 1)[0]
    torch.testing.assert_close(inverse.product(vector), expected @ vector, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("block", [0, 4])
def test_mfac_equals_woodfisher_on_the_same_gradients(block: int) -> None:
    rows = gradients(9)
    free = MatrixFreeInverse(Blocks(SIZES, block), 9, DAMP, rows)
    full = BlockInverse(Blocks(SIZES, block), 9, DAMP, rows)
    for row in rows:
        free.add(row)
        full.add(row)
        vector = gradients(1, 5)[0]
        torch.testing.assert_close(free.product(vector), full.product(vector))
        torch.testing.assert_close(free.diagonal(), full.diagonal())
    if block == 0:
        torch.testing.assert_close(free.product(rows[0]), dense_inverse(rows, DAMP) @ rows[0])


def fisher_of(method: OBS, seed: int) -> tuple[Tensor, Tensor]:
    """The weights of a small network as one vector, and the dense inverse Fisher that the method estimates there."""
    state = small_state(method, seed=seed)
    torch.manual_seed(11)
    state.model.eval()
    rows = []
    for images, labels in sample(int(method.settings.gradient_count), int(method.settings.gradient_batch)):
        loss = torch.nn.functional.cross_entropy(state.model(images), labels)
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(state.weights.values()))]))
    flat = torch.cat([w.detach().flatten() for w in state.weights.values()])
    return flat.double(), dense_inverse(torch.stack(rows).double(), method.settings.damp)


@pytest.mark.parametrize("kind", [WoodFisher, MFAC])
@pytest.mark.parametrize("seed", [0, 1])
def test_one_weight_goes_by_the_closed_form_of_the_optimal_brain_surgeon(kind: type[OBS], seed: int) -> None:
    # Hassibi & Stork (1992): q minimises w_q^2 / (2 [F^-1]_qq), and all weights move by -w_q F^-1 e_q / [F^-1]_qq.
    method = kind(0.5, block=192 if kind is WoodFisher else 0, gradient_count=20, damp=1e-2)
    state = small_state(method, seed=seed)
    if kind is WoodFisher:  # its blocks end with a layer; the closed form over both needs one layer
        state.weights = {"0.weight": state.weights["0.weight"]}
    weights, inverse = fisher_of(method, seed)
    size = sum(w.numel() for w in state.weights.values())
    if size < len(weights):
        rows_inverse = torch.linalg.inv(torch.linalg.inv(inverse)[:size, :size])  # the block of this layer alone
        weights, inverse = weights[:size], rows_inverse
    cost = weights.square() / (2 * inverse.diagonal())
    q = int(cost.argmin())
    expected = weights - weights[q] * inverse[:, q] / inverse[q, q]
    torch.manual_seed(11)
    method.prune(state, 1 / size)
    found = torch.cat([w.detach().flatten() for w in state.weights.values()]).double()
    assert torch.nonzero(~torch.cat([m.flatten() for m in state.masks.values()])).flatten().tolist() == [q]
    assert float(found[q]) == 0.0
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-4)
    assert not torch.allclose(found, weights, atol=1e-4)  # the others did move


@pytest.mark.parametrize("kind", [WoodFisher, MFAC])
def test_the_schedule_is_gmps_and_what_is_pruned_stays_pruned(kind: type[OBS]) -> None:
    method = kind(0.8, gradient_count=8, prunings=6, recomputations=2)
    history = train(method, small_state(method))
    steps = method.pruning_steps(100)
    assert len(steps) == 7
    for step, moment in enumerate(history):
        wanted = steps[max(s for s in steps if s <= step)]
        assert abs(pruned(moment.masks) - wanted * 192) <= 1
        for name, mask in moment.masks.items():
            assert not moment.weights[name][~mask].any()
            if step:
                assert not bool((mask & ~history[step - 1].masks[name]).any())


@pytest.mark.slow
def test_the_second_order_step_raises_the_loss_less_than_magnitude() -> None:
    rises = []
    for kind in (WoodFisher, MFAC):
        for seed in range(3):
            after = []
            for by_magnitude in (False, True):
                method = kind(0.6, gradient_count=64, damp=1e-4, recomputations=4)
                state = small_state(method, 300, batch_norm=False, seed=seed)
                train(_Unpruned(0.0), state)
                torch.manual_seed(5)
                images, labels = next(sample(1, 4000))
                before = float(state.loss(images, labels).detach())
                if by_magnitude:
                    method.prune_by_magnitude(state, 0.6)
                else:
                    for part in range(1, 5):
                        method.prune(state, 0.15 * part)
                after.append(float(state.loss(images, labels).detach()) - before)
            rises.append(after)
    ours, magnitudes = (sum(column) for column in zip(*rises, strict=True))
    assert ours < 0.7 * magnitudes


class _Unpruned(WoodFisher):
    def before_step(self, state: object) -> None:
        """Leave everything dense."""


def test_memory_is_what_it_says_and_too_much_is_refused_before_the_training() -> None:
    sizes = [1000, 50]
    assert WoodFisher(0.5, block=64).memory(sizes) == 4 * (16 + 1) * 64 * 64
    assert MFAC(0.5, gradient_count=10).memory(sizes) == 4 * 1050 * 10
    like = torch.zeros(1)
    inverse = BlockInverse(Blocks(sizes, 64), 4, 1e-3, like)
    assert inverse._inverse.numel() * 4 == WoodFisher(0.5, block=64).memory(sizes)
    free = MatrixFreeInverse(Blocks(sizes, 0), 10, 1e-3, like)
    assert free._vectors.numel() * 4 == MFAC(0.5, gradient_count=10).memory(sizes)
    with pytest.raises(InputError, match=r"woodfisher's inverse Fisher takes .* memory_limit is 1e-07"):
        small_state(WoodFisher(0.5, memory_limit=1e-7))


def test_an_estimate_that_is_not_positive_stops_with_what_to_try() -> None:
    method = WoodFisher(0.5, gradient_count=4, damp=1e30)
    state = small_state(method)
    with torch.no_grad():
        state.weights["0.weight"].fill_(float("nan"))
    with pytest.raises(RunError, match=r"not positive at step 0 .try a larger damp"):
        method.prune(state, 0.1)
