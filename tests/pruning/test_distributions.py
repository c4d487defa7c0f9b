from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.pruning.distributions import (
    erk_densities,
    erk_masks,
    global_masks,
    masks_for,
    nm_masks,
    top,
    uniform_masks,
)
from sparsebench.pruning.patterns import check_pattern
from sparsebench.schema import InputError, UnknownNameError

SCORES = {"a.weight": torch.arange(100.0).view(10, 10), "b.weight": torch.arange(50.0, 90.0).view(4, 10)}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.data())
def test_top_keeps_exactly_the_largest_and_breaks_ties_by_position(values: list[int], data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(values)))
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    assert torch.nonzero(top(torch.tensor(values).float(), kept)).flatten().tolist() == sorted(order[:kept])


@given(st.integers(0, 999), st.floats(0, 0.99))
def test_global_masks_meet_the_sparsity_and_keep_the_largest(seed: int, sparsity: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(shape, generator=generator) for name, shape in (("a", (7, 5)), ("b", (3, 5, 3, 3)))}
    masks = global_masks(scores, sparsity)
    kept = torch.cat([scores[k][masks[k]] for k in scores])
    pruned = torch.cat([scores[k][~masks[k]] for k in scores])
    assert len(pruned) == round(sparsity * 170)
    assert len(pruned) == 0 or len(kept) == 0 or kept.min() >= pruned.max()


def test_uniform_masks_prune_every_layer_alike() -> None:
    masks = uniform_masks(SCORES, 0.9)
    assert [int(m.sum()) for m in masks.values()] == [10, 4]
    assert bool(masks["a.weight"][-1].all())
    assert bool(masks["b.weight"].flatten()[-4:].all())


def test_erk_densities_of_a_case_solved_by_hand() -> None:
    # a: 64x32x3x3 = 18,432 weights, sum of shape 102; b: 16x4x1x1 = 64, sum 22; c: 10x64 = 640, sum 74.
    # At 90 %: 19,136 weights, 1,913.6 kept. eps = 1,913.6 / 198 = 9.665: b would be 9.665 * 22 / 64 = 3.32 > 1 and
    # c 9.665 * 74 / 640 = 1.117 > 1, so both are dense; a takes what is left: (1,913.6 - 64 - 640) / 18,432.
    shapes = {"a": (64, 32, 3, 3), "b": (16, 4, 1, 1), "c": (10, 64)}
    assert erk_densities(shapes, 0.9) == pytest.approx({"a": 1209.6 / 18432, "b": 1.0, "c": 1.0})
    # At 95 %: 956.8 kept; eps = 4.832: b is 1.66 > 1; c 0.559. Without b: eps = 892.8 / 176 = 5.0727.
    expected = {"a": 5.072727 * 102 / 18432, "b": 1.0, "c": 5.072727 * 74 / 640}
    assert erk_densities(shapes, 0.95) == pytest.approx(expected, rel=1e-6)


@given(st.floats(0.0, 0.97))
def test_erk_masks_meet_the_sparsity_exactly(sparsity: float) -> None:
    scores = {"a": torch.rand(16, 8, 3, 3), "b": torch.rand(8, 4, 1, 1), "c": torch.rand(10, 32)}
    total = sum(s.numel() for s in scores.values())
    masks = erk_masks(scores, sparsity)
    densities = erk_densities({k: tuple(s.shape) for k, s in scores.items()}, sparsity)
    assert sum(int(m.sum()) for m in masks.values()) == total - round(sparsity * total)
    for name, mask in masks.items():
        assert abs(int(mask.sum()) - densities[name] * mask.numel()) < 1


@given(st.sampled_from([(2, 4), (1, 4), (4, 8), (1, 2)]), st.integers(0, 99))
def test_nm_holds_in_every_group_and_keeps_its_largest(nm: tuple[int, int], seed: int) -> None:
    n, m = nm
    generator = torch.Generator().manual_seed(seed)
    scores = {"conv": torch.rand(5, 16, 3, 2, generator=generator), "fc": torch.rand(6, 8, generator=generator)}
    masks = nm_masks(scores, 1 - n / m, nm)
    for name, score in scores.items():
        mask = masks[name]
        positions = [(o, *p) for o in range(score.shape[0]) for p in _kernel(score)]
        for position in positions:
            out, *kernel = position
            for start in range(0, score.shape[1], m):
                inputs = [(out, i, *kernel) for i in range(start, start + m)]
                kept = [float(score[i]) for i in inputs if mask[i]]
                dropped = [float(score[i]) for i in inputs if not mask[i]]
                assert len(kept) == n
                assert min(kept) >= max(dropped)


def _kernel(score: torch.Tensor) -> list[tuple[int, ...]]:
    return [(y, x) for y in range(score.shape[2]) for x in range(score.shape[3])] if score.ndim == 4 else [()]


def test_what_is_impossible_is_refused_naming_the_layer() -> None:
    with pytest.raises(InputError, match="2:4 is impossible for layer conv1: it has 3 inputs, not a multiple of 4"):
        nm_masks({"conv1.weight": torch.rand(8, 3, 3, 3)}, 0.5, (2, 4))
    with pytest.raises(InputError, match=r"no weight would be left in layer b \(4 weights\)"):
        uniform_masks({"a.weight": torch.rand(100), "b.weight": torch.rand(2, 2)}, 0.95)
    for sparsity in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="impossible sparsity"):
            global_masks(SCORES, sparsity)
    with pytest.raises(UnknownNameError, match="did you mean erk"):
        masks_for(SCORES, 0.5, "erkk")
    with pytest.raises(InputError, match="go together"):
        check_pattern("nm", None, (0.5,))
    with pytest.raises(InputError, match="go together"):
        check_pattern("global", (2, 4), (0.5,))
    with pytest.raises(InputError, match="4:4 is not a pattern"):
        check_pattern("nm", (4, 4), (0.0,))
    with pytest.raises(InputError, match=r"2:4 can't have sparsity 0\.9"):
        check_pattern("nm", (2, 4), (0.9,))
