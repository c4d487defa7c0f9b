"""Intervals against textbook formulas, against a bootstrap of our own, and what must hold for all inputs."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from sparsebench.analysis import (
    Panel,
    Wrong,
    accuracies,
    accuracy_difference_interval,
    all_intervals,
    bootstrap,
    components,
    interval,
    relative_error_increases,
    relative_error_interval,
)
from sparsebench.analysis.intervals import half_width, p_value
from sparsebench.analysis.simulation import Shape, draw


def panel(models, labels=None, task="digits", levels=None, **kind):
    """Return a panel of models' outcomes (runs, n), each run a seed."""
    arrays = {name: np.atleast_2d(np.asarray(rows, dtype=bool)) for name, rows in models.items()}
    n = next(iter(arrays.values())).shape[1]
    wrong = {name: Wrong(a, levels or tuple((0, s) for s in range(len(a)))) for name, a in arrays.items()}
    return Panel(task, np.zeros(n, dtype=np.int64) if labels is None else np.asarray(labels), wrong, **kind)


def test_one_run_has_the_variance_of_the_mean_and_one_unit():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 400)) < 0.3
    got = accuracy_difference_interval(panel({"a": a, "b": b}), "a", "b")
    d = b.astype(float) - a
    assert got.value == pytest.approx(d.mean())
    assert got.variance == pytest.approx(d.var(ddof=1) / 400 + 1 / 400**2)
    assert got.scope == ("test images",)


def test_seeds_and_images_are_a_two_way_layout():
    rng = np.random.default_rng(1)
    x = rng.random((4, 1)) * 0.2 + rng.random(300) * 0.6 + rng.random((4, 300)) * 0.4 > 0.7
    parts = components(accuracies([panel({"a": x})], ["a"]))
    value = x.astype(float)
    rows, columns = value.mean(axis=1, keepdims=True), value.mean(axis=0, keepdims=True)
    rest = value - rows - columns + value.mean()
    assert parts.levels[0].matrix[0, 0] == pytest.approx(rows.var(ddof=1) / 4)
    assert parts.images[0, 0] == pytest.approx(columns.var(ddof=1) / 300)
    assert parts.both[0].matrix[0, 0] == pytest.approx((rest**2).sum() / (3 * 299) / (4 * 300))
    assert interval(parts).covers == "seeds and test images"


def test_mean_per_class_is_stratified():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], [20, 50, 130])
    x = rng.random(200) < np.array([0.1, 0.3, 0.6])[labels]
    own = panel({"a": x}, labels, metric="mean_per_class")
    by_class = [x[labels == k].astype(float) for k in range(3)]
    parts = components(accuracies([own], ["a"]))
    assert own.error("a") == pytest.approx(np.mean([v.mean() for v in by_class]))
    assert parts.images[0, 0] == pytest.approx(sum(v.var(ddof=1) / len(v) for v in by_class) / 9)


def test_classes_of_one_image_are_joined_and_have_a_variance():
    labels = np.array([0, 1, 2, 3, 4, 4, 4, 4])
    x = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    parts = components(accuracies([panel({"a": x}, labels, metric="mean_per_class")], ["a"]))
    single, last = np.array([0, 1, 0, 1.0]), np.array([0, 1, 0, 1.0])
    # each of the four is 1/5 of the mean, and so is the class of four images
    expected = (4 / 3 * ((single - 0.5) ** 2).sum() + last.var(ddof=1) / 4) / 25
    assert parts.images[0, 0] == pytest.approx(expected)
    one = components(accuracies([panel({"a": x[3:]}, labels[3:], metric="mean_per_class")], ["a"]))
    assert one.images[0, 0] > 0


def test_images_of_one_source_are_one_unit():
    rng = np.random.default_rng(3)
    x = rng.random(100) < 0.4
    copies = np.repeat(x, 5)
    once = accuracy_difference_interval(panel({"a": x, "b": ~x}), "a", "b")
    clustered = panel({"a": copies, "b": ~copies}, clusters=np.repeat(np.arange(100), 5))
    assert accuracy_difference_interval(clustered, "a", "b").low == pytest.approx(once.low)
    naive = accuracy_difference_interval(panel({"a": copies, "b": ~copies}), "a", "b")
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_models_with_different_seeds_are_not_paired_by_them():
    rng = np.random.default_rng(4)
    x, y = (rng.random((3, 1)) * 0.3 + rng.random((s, 500)) > 0.8 for s in (3, 3))
    paired = panel({"a": x, "b": y})
    apart = Panel(
        "digits",
        paired.labels,
        {"a": paired.models["a"], "b": Wrong(paired.models["b"].values, ((0, 7), (0, 8), (0, 9)))},
    )
    named = dict(accuracy_difference_interval(apart, "a", "b").variances)
    expected = (np.var(x.mean(axis=1), ddof=1) + np.var(y.mean(axis=1), ddof=1)) / 3
    assert named["seeds"] == pytest.approx(expected)
    d = y.mean(axis=1) - x.mean(axis=1)
    assert dict(accuracy_difference_interval(paired, "a", "b").variances)["seeds"] == pytest.approx(d.var(ddof=1) / 3)


def test_a_replicate_serves_all_tasks():
    shape = Shape(images=200, tasks=3, seeds=2, replicates=3)
    panels = draw(shape, np.random.default_rng(5)).panels
    got = relative_error_interval(panels, "1", "0")
    assert got.covers == "seeds, test images and upstream replicates"
    statistic = relative_error_increases(panels, {"1": "0"})
    by_replicate = np.zeros(3)
    for own, gradient in zip(panels, statistic.gradients, strict=True):
        for name in "01":
            errors = own.models[name].values.reshape(3, 2, -1).mean(axis=(1, 2))
            by_replicate += gradient[name][0] * errors
    assert dict(got.variances)["replicates"] == pytest.approx(by_replicate.var(ddof=1) / 3)


def test_the_scope_is_what_both_models_have_several_of():
    shape = Shape(images=100, tasks=1, seeds=2, replicates=2)
    (own,) = draw(shape, np.random.default_rng(6)).panels
    single = Wrong(own.models["0"].values[:1], ((0, 0),))
    mixed = Panel("t", own.labels, {"many": own.models["1"], "one": single})
    assert accuracy_difference_interval(mixed, "many", "one").scope == ("test images",)
    seeds = Wrong(own.models["0"].values[:2], ((0, 0), (0, 1)))
    mixed = Panel("t", own.labels, {"many": own.models["1"], "some": seeds})
    assert accuracy_difference_interval(mixed, "many", "some").scope == ("seeds", "test images")


def test_tasks_as_a_sample():
    shape = Shape(images=200, tasks=5, gaps=(0.0, 0.2))
    panels = draw(shape, np.random.default_rng(7)).panels
    got = relative_error_interval(panels, "1", "0", random_tasks=True)
    by_task = relative_error_increases(panels, {"1": "0"}).by_task[0]
    assert got.scope == ("seeds", "test images", "tasks")
    assert dict(got.variances)["tasks"] == pytest.approx(by_task.var(ddof=1) / 5)


def test_models_that_never_differ_have_an_interval_around_zero():
    x = np.zeros(50, dtype=bool)
    x[:5] = True
    got = accuracy_difference_interval(panel({"a": x, "b": x}), "a", "b")
    assert got.low < 0 < got.high
    assert got.high == pytest.approx(1.96 / 50, rel=0.01)
    assert got.p_value == pytest.approx(1.0)


def test_a_task_without_errors_of_the_reference_is_left_out_and_named():
    x, zero = np.arange(40) % 4 == 0, np.zeros(40, dtype=bool)
    panels = [panel({"a": x, "b": zero}), panel({"a": x, "b": np.roll(x, 1)}, task="glyphs")]
    assert relative_error_increases(panels, {"a": "b"}).perfect == ("digits",)
    assert relative_error_interval(panels, "a", "b").value == pytest.approx(0.0)
    with pytest.raises(ValueError, match="no task is left"):
        relative_error_increases(panels[:1], {"a": "b"})


def test_one_image_has_no_interval():
    got = accuracy_difference_interval(panel({"a": [True], "b": [False]}), "a", "b")
    assert math.isnan(got.low)
    assert got.scope == ()


@given(
    st.lists(st.tuples(st.floats(1e-6, 1.0), st.floats(1, 500)), min_size=1, max_size=4),
    st.floats(1e-3, 5.0),
)
@example(
    [(0.0008989898989898987, 36.83290428893748), (1.2037062152420224e-35, 1.0)], 0.030000000000000013
)  # a part that is nothing but rounding
def test_the_p_value_is_where_the_interval_ends_at_zero(parts, value):
    p = p_value(value, parts)
    assert 0 <= p <= 1
    if 1e-9 < p < 0.999:
        assert half_width(parts, p) == pytest.approx(value, rel=1e-4)


def test_one_part_is_students_t():
    assert half_width([(0.04, 3)], 0.05) == pytest.approx(stats.t.ppf(0.975, 3) * 0.2)
    assert p_value(0.5, [(0.04, 3)]) == pytest.approx(2 * stats.t.sf(2.5, 3))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_order_of_images_and_runs_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    shape = Shape(images=60, tasks=2, seeds=2, classes=5)
    panels = draw(shape, rng).panels
    images, runs = rng.permutation(60), [1, 0]
    moved = [
        Panel(
            p.task,
            p.labels[images],
            {m: Wrong(w.values[runs][:, images], tuple(w.levels[r] for r in runs)) for m, w in p.models.items()},
            p.metric,
        )
        for p in panels
    ]
    got, other = (relative_error_interval(p, "1", "0") for p in (panels, moved))
    assert (other.low, other.high) == pytest.approx((got.low, got.high))


def test_swapping_models_mirrors_the_difference():
    (own,) = draw(Shape(tasks=1, gaps=(0.0, 0.3)), np.random.default_rng(8)).panels
    got, other = accuracy_difference_interval(own, "1", "0"), accuracy_difference_interval(own, "0", "1")
    assert (got.low, got.high) == pytest.approx((-other.high, -other.low))


def test_the_reference_of_a_table_has_no_width():
    panels = draw(Shape(tasks=2, gaps=(0.0, 0.1, 0.2)), np.random.default_rng(9)).panels
    table = all_intervals(panels, {"0": "0", "1": "0", "2": "0"})
    assert (table["0"].low, table["0"].high) == (0.0, 0.0)
    alone = relative_error_interval(panels, "2", "0")
    assert (table["2"].low, table["2"].high) == pytest.approx((alone.low, alone.high))


def test_the_closed_form_agrees_with_the_pigeonhole_bootstrap():
    shape = Shape(images=800, tasks=4, seeds=5, gaps=(0.0, 0.2), seed_sd=0.02)
    panels = draw(shape, np.random.default_rng(10)).panels
    sd = bootstrap(panels, {"1": "0"}, draws=400).std()
    got = relative_error_interval(panels, "1", "0")
    assert got.variance**0.5 == pytest.approx(sd, rel=0.25)
    assert sd > 0.9 * got.variance**0.5, "it is conservative"


def test_the_bootstrap_has_a_fixed_seed_and_pairs_models():
    panels = draw(Shape(images=100, tasks=2, classes=4), np.random.default_rng(11)).panels
    first = bootstrap(panels, {"0": "0", "1": "0"}, draws=60)
    assert np.array_equal(first, bootstrap(panels, {"0": "0", "1": "0"}, draws=60))
    assert np.abs(first[0]).max() < 1e-6, "a model against itself"
    assert not np.array_equal(first, bootstrap(panels, {"0": "0", "1": "0"}, draws=60, seed=1))
