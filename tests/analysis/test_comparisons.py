"""Verdicts, and what it would take to decide."""

import math

import numpy as np
import pytest

from sparsebench.analysis import Panel, Wrong, compare_models, components, mcnemar, needed, relative_error_increases
from sparsebench.analysis.simulation import Shape, draw


def test_a_clear_difference_has_verdicts_and_the_other_way_round_the_opposite():
    panels = draw(Shape(images=2000, tasks=4, gaps=(0.0, 0.6)), np.random.default_rng(0)).panels
    got, other = compare_models(panels, "1", "0"), compare_models(panels, "0", "1")
    assert got.verdict == "worse"
    assert {task.verdict for task in got.tasks} == {"worse"}
    assert got.overall.low > 0
    assert all(task.difference.high < 0 for task in got.tasks)
    assert (other.verdict, {task.verdict for task in other.tasks}) == ("better", {"better"})


def test_equal_models_are_undecided_and_more_images_alone_would_decide():
    panels = draw(Shape(images=500, tasks=3, seeds=1, gaps=(0.0, 0.05)), np.random.default_rng(2)).panels
    got = compare_models(panels, "1", "0")
    assert got.verdict == "undecided"
    assert got.needed.seeds is None
    assert got.needed.replicates is None
    # with x times the images the standard error is smaller by the root of x
    parts = components(relative_error_increases(panels, {"1": "0"}))
    z = abs(got.overall.value) / float(parts.images[0, 0]) ** 0.5
    assert got.needed.images == pytest.approx(((1.959964 + 0.841621) / z) ** 2, rel=1e-4)


def test_what_seeds_alone_cannot_decide():
    panels = draw(Shape(images=100, tasks=3, seeds=3, gaps=(0.0, 0.02)), np.random.default_rng(3)).panels
    got = needed(components(relative_error_increases(panels, {"1": "0"})), np.ones(1))
    assert got.seeds is None


def test_counts_by_hand_for_a_single_run():
    rng = np.random.default_rng(4)
    a, b = rng.random((2, 1, 60)) < 0.4
    panel = Panel("digits", np.zeros(60, dtype=int), {"a": Wrong(a, ((0, 0),)), "b": Wrong(b, ((0, 0),))})
    (task,) = compare_models([panel], "a", "b").tasks
    n10, n01 = int((~a & b).sum()), int((a & ~b).sum())
    assert (task.only_first, task.only_second) == (n10, n01)
    assert task.mcnemar_p == task.holm_p == mcnemar(n10, n01)
    assert task.difference.value == pytest.approx((n10 - n01) / 60)


def test_models_without_a_common_task():
    panels = draw(Shape(tasks=1), np.random.default_rng(5)).panels
    with pytest.raises(ValueError, match="no task in common"):
        compare_models(panels, "1", "2")


def test_power_is_what_was_asked_for():
    """Planning for 80 % power from a large pilot, and then testing, decides in about 80 % of trials."""
    rng = np.random.default_rng(6)
    pilot = draw(Shape(images=4000, tasks=3, seeds=1, gaps=(0.0, 0.25), seed_sd=0.0, replicate_sd=0.0), rng).panels
    times = needed(components(relative_error_increases(pilot, {"1": "0"})), np.ones(1)).images
    images = math.ceil(4000 * times)
    shape = Shape(images=images, tasks=3, seeds=1, gaps=(0.0, 0.25), seed_sd=0.0, replicate_sd=0.0)
    decided = [compare_models(draw(shape, rng).panels, "1", "0").verdict == "worse" for _ in range(80)]
    assert 0.6 < np.mean(decided) < 0.95


def test_sets_of_models_are_compared_by_their_means():
    panels = draw(Shape(images=300, tasks=2, gaps=(0.0, 0.2, 0.4)), np.random.default_rng(7)).panels
    got = compare_models(panels, ["1", "2"], "0")
    expected = np.mean([(p.error("1") + p.error("2")) / 2 / p.error("0") - 1 for p in panels])
    assert got.overall.value == pytest.approx(expected)
    same = compare_models(panels, ["1", "1"], ["0"])
    assert same.overall.low == pytest.approx(compare_models(panels, "1", "0").overall.low)
