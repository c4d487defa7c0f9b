"""Many SGD heads in one program against the same heads one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from examples import probe_data, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsebench.schema import InputError, Protocol, RunError
from sparsebench.transfer.probes import heads, sgd
from sparsebench.transfer.probes.heads import fit_heads
from sparsebench.transfer.probes.rows import Rows


def points(rates, decays, **changes) -> list[Protocol]:
    fixed = {"name": "test", "mode": "linear", "probe": "sgd", "epochs": 4, "milestones": (1, 3)} | changes
    return [Protocol.model_validate(fixed | {"lr": r, "weight_decay": w}) for r in rates for w in decays]


def same(head, expected) -> None:
    scale = max(float(np.abs(expected.weight).max()), 1e-6)
    np.testing.assert_allclose(head.weight, expected.weight, rtol=0, atol=1e-4 * scale)
    np.testing.assert_allclose(head.bias, expected.bias, rtol=0, atol=1e-4 * scale)


@settings(max_examples=20)
@given(
    n=st.integers(5, 140),
    d=st.integers(1, 40),
    batch_size=st.integers(1, 70),
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=4, unique=True),
    decays=st.sampled_from([[5e-4], [0.0, 0.1]]),
    split=st.floats(0.1, 1),
)
def test_every_head_is_what_it_is_alone(n, d, batch_size, seeds, decays, split):
    x, y = problem(n, d)
    grid = points([0.1, 0.01], decays, batch_size=batch_size)
    blocks = Rows([x[: int(split * n)], x[int(split * n) :]])
    for seed, row in zip(seeds, fit_heads(blocks, y, 5, grid, seeds), strict=True):
        for point, head in zip(grid, row, strict=True):
            same(head, sgd.fit(x, y, 5, point, seed))


def test_a_subset_of_rows_is_trained_on_as_if_it_were_all():
    x, y = problem(90)
    rows = np.flatnonzero(np.arange(90) % 3)
    ((head,), (other,)) = fit_heads(Rows([x]), y, 5, points([0.1], [0.0]), [3, 4], rows=rows)
    same(head, sgd.fit(x[rows], y[rows], 5, points([0.1], [0.0])[0], 3))
    same(other, sgd.fit(x[rows], y[rows], 5, points([0.1], [0.0])[0], 4))


def test_how_many_heads_are_stacked_does_not_matter(monkeypatch):
    x, y = problem()
    whole = fit_heads(Rows([x]), y, 5, points([0.1, 0.02], [0.0]), [0, 1, 2])
    monkeypatch.setattr(heads, "_STACK_BYTES", 1)
    seen: list[tuple[float, float]] = []
    apart = fit_heads(Rows([x]), y, 5, points([0.1, 0.02], [0.0]), [0, 1, 2], progress=lambda *now: seen.append(now))
    assert [bits(row) for row in whole] == [bits(row) for row in apart]
    assert seen[-1] == (1.0, 1.0)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bits(row) -> list[bytes]:
    return [head.weight.tobytes() + head.bias.tobytes() for head in row]


def assert_no_bit_depends_on_the_stack(n, d, classes, grid, stacks, count) -> None:
    x, y = problem(n, d, classes)
    with threads(count):
        alone = {
            seed: bits(fit_heads(Rows([x]), y, classes, grid, [seed])[0]) for seed in {s for t in stacks for s in t}
        }
        for seeds in stacks:
            for seed, row in zip(seeds, fit_heads(Rows([x]), y, classes, grid, seeds), strict=True):
                assert bits(row) == alone[seed]


@settings(max_examples=12)
@given(
    n=st.integers(12, 150),
    d=st.integers(1, 70),
    classes=st.integers(2, 12),
    batch_size=st.integers(1, 70),
    rates=st.sampled_from([[0.1], [0.1, 0.01, 0.003]]),
    count=st.integers(1, 4),
)
def test_no_bit_of_a_small_head_depends_on_the_stack(n, d, classes, batch_size, rates, count):
    grid = points(rates, [5e-4], batch_size=batch_size, epochs=2, milestones=(1,))
    assert_no_bit_depends_on_the_stack(n, d, classes, grid, [[0, 1, 2, 3, 4], [4, 1]], count)


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("n", "d", "classes", "rates", "batch_size"),
    [
        (129, 600, 37, [0.01], 64),
        (300, 70, 257, [0.01], 64),
        (90, 511, 20, [0.1, 0.01], 51),
        (129, 2048, 101, [0.01], 64),
    ],
)
def test_no_bit_of_a_large_head_depends_on_the_stack(n, d, classes, rates, batch_size, count):
    grid = points(rates, [5e-4], batch_size=batch_size, epochs=2, milestones=(1,))
    assert heads.lanes(classes * len(rates), d + 1, batch_size, torch.device("cpu")) == 1
    assert_no_bit_depends_on_the_stack(n, d, classes, grid, [[0, 1, 2, 3, 4], [4, 1]], count)


def test_small_products_are_computed_one_per_thread_and_large_ones_by_all():
    with threads(4):
        assert heads.lanes(10, 272, 64, torch.device("cpu")) == 4
        assert heads.lanes(37, 2064, 64, torch.device("cpu")) == 1
    with threads(1):
        assert heads.lanes(10, 272, 64, torch.device("cpu")) == 1
    assert heads.lanes(10, 272, 64, torch.device("cuda")) == heads.lanes(397, 2064, 64, torch.device("cuda")) == 8


def test_a_head_that_diverges_leaves_its_neighbours_alone():
    x, y = problem()
    wild = points([0.01, 1e30, 0.02], [5e-4], epochs=40, milestones=())
    for seed, (tame, lost, other) in zip((7, 8), fit_heads(Rows([x]), y, 5, wild, [7, 8]), strict=True):
        assert isinstance(lost, RunError)
        assert f"(seed {seed}, learning rate 1e+30)" in lost.message
        same(tame, sgd.fit(x, y, 5, wild[0], seed))
        same(other, sgd.fit(x, y, 5, wild[2], seed))


def test_labels_beyond_the_classes_are_refused():
    x, y = problem()
    with pytest.raises(InputError, match="labels run from 0 to 4"):
        fit_heads(Rows([x]), y, 4, points([0.1], [0.0]), [0])


def test_held_out_rows_are_scored_and_not_trained_on():
    data = probe_data()
    (settings,) = points([0.05], [0.0], train_on="train")
    (fitted,) = sgd.fit_seeds(data, settings, [1])
    alone = sgd.fit(data.x.blocks[0], data.y[:120], 5, settings, 1)
    np.testing.assert_array_equal(fitted.head.weight, alone.weight)
    np.testing.assert_allclose(fitted.val_logits, alone.logits(data.x.blocks[1]), rtol=1e-6)
    assert (fitted.n_train, fitted.test_logits.shape) == (120, (60, 5))


def test_each_seed_trains_at_its_own_choice():
    data = probe_data(30, 12, spread=2.5)
    grid = {"lr": [0.001, 0.01, 0.1, 1.0], "weight_decay": [0.0, 0.5]}
    settings = points([0.02], [5e-4], grid=grid)[0]
    fitted = sgd.fit_seeds(data, settings, [0, 1, 2])
    for seed, entry in enumerate(fitted):
        chosen = settings.at(**entry.chosen.settings)
        same(entry.head, sgd.fit(np.concatenate(data.x.blocks), data.y, 5, chosen, seed))
        assert len(entry.trials) == 9
    assert len({f.seconds for f in fitted}) == 1
