from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.pruning.distributions import global_masks, masks_for, uniform_masks
from sparsebench.pruning.gmp import GMP
from sparsebench.pruning.schedules import Phases, cubic_sparsity, warmup_cosine
from sparsebench.schema import InputError, UnknownNameError


def test_cubic_schedule_at_hand_computed_points() -> None:
    assert cubic_sparsity(0.0, 0.05, 0.9, 0.1, 0.6) == 0.0
    assert cubic_sparsity(0.1, 0.05, 0.9, 0.1, 0.6) == pytest.approx(0.05)
    assert cubic_sparsity(0.35, 0.05, 0.9, 0.1, 0.6) == pytest.approx(0.9 - 0.85 * 0.125)
    assert cubic_sparsity(0.6, 0.05, 0.9, 0.1, 0.6) == 0.9


def test_gmp_sparsity_at_given_steps() -> None:
    steps = GMP(0.9).pruning_steps(1000)
    assert min(steps) == 0
    assert max(steps) == 600
    assert steps[0] == pytest.approx(0.05)
    assert steps[300] == pytest.approx(0.9 - 0.85 * 0.5**3)
    assert steps[600] == 0.9
    assert list(steps.values()) == sorted(steps.values())


def test_phases_are_the_published_ones_at_100_epochs() -> None:
    expected = [(0, False)]
    for prune, restore in zip(range(10, 80, 10), range(15, 85, 10), strict=True):
        expected += [(prune, True), (restore, False)]
    assert Phases().boundaries(100) == [*expected, (85, True)]


@given(st.integers(20, 5000))
def test_phases_alternate_and_end_sparse_at_any_length(total: int) -> None:
    boundaries = Phases().boundaries(total)
    assert [sparse for _, sparse in boundaries] == [i % 2 == 1 for i in range(len(boundaries))]
    starts = [start for start, _ in boundaries]
    assert starts == sorted(set(starts))
    assert boundaries[-1] == (round(0.85 * total), True)


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [warmup_cosine(step, 200, 0.4) for step in range(200)]
    assert max(rates) == pytest.approx(0.4)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3


@given(sparsity=st.floats(0, 0.99), seed=st.integers(0, 99), ties=st.booleans())
def test_global_masks_are_exact_and_keep_the_largest(sparsity: float, seed: int, ties: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(shape, generator=generator) for name, shape in (("a", (5, 7)), ("b", (3, 2, 4)))}
    if ties:
        scores = {name: (s * 4).round() for name, s in scores.items()}
    masks = global_masks(scores, sparsity)
    kept = torch.cat([scores[n][masks[n]] for n in scores])
    pruned = torch.cat([scores[n][~masks[n]] for n in scores])
    assert len(pruned) == round(sparsity * 59)
    assert not len(pruned) or not len(kept) or kept.min() >= pruned.max()


def test_uniform_masks_prune_each_layer_alike() -> None:
    masks = uniform_masks({"a": torch.rand(10, 10), "b": torch.rand(20) * 100}, 0.75)
    assert [int((~m).sum()) for m in masks.values()] == [75, 15]


def test_impossible_arguments() -> None:
    for sparsity in (1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match="impossible sparsity"):
            global_masks({"a": torch.rand(4)}, sparsity)
    with pytest.raises(InputError, match="leaves no weight in layer a"):
        uniform_masks({"a": torch.rand(4)}, 0.9)
    with pytest.raises(UnknownNameError, match="did you mean global"):
        masks_for({"a": torch.rand(4)}, 0.5, "globl")
