from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.pruning.methods.gmp import GMP
from sparsebench.pruning.schedules import Phases, cubic_sparsity, warmup_cosine


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
