"""Every statistic against a hand-computed example, and what must hold for all inputs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.analysis import metrics
from sparsebench.analysis.metrics import Sample

accuracies = st.floats(0.0, 0.99)


def test_top1_of_classes_and_of_logits():
    assert metrics.top1([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75
    logits = [[2.0, 1.0], [0.0, 3.0], [1.0, 1.0]]
    assert metrics.top1(logits, [0, 1, 1]) == pytest.approx(2 / 3), "a tie goes to the first class"


def test_mean_per_class_is_the_mean_of_recalls_over_present_classes():
    # recalls: class 0 3/4, class 1 1/2; class 2 has no sample, though it is predicted once
    predicted, labels = [0, 0, 0, 2, 1, 0], [0, 0, 0, 0, 1, 1]
    assert metrics.mean_per_class(predicted, labels, 3) == pytest.approx((0.75 + 0.5) / 2)
    assert metrics.top1(predicted, labels) == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("predicted", "labels", "message"),
    [([0], [0, 1], "don't fit"), ([], [], "no sample"), ([[0.0, math.nan]], [0], "NaN"), ([[[0]]], [0], "don't fit")],
)
def test_predictions_that_cannot_be_scored(predicted, labels, message):
    with pytest.raises(ValueError, match=message):
        metrics.top1(predicted, labels)


@pytest.mark.parametrize("label", [-1, 2])
def test_label_out_of_range(label):
    with pytest.raises(ValueError, match="labels must lie in"):
        metrics.mean_per_class([0, 1], [0, label], 2)


def test_mean_and_sd():
    assert metrics.mean([0.2, 0.4, 0.9]) == pytest.approx(0.5)
    assert metrics.sd([0.2, 0.4, 0.9]) == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2))
    assert metrics.sd([0.1, 0.1, 0.1]) == 0.0
    assert math.isnan(metrics.mean([]))
    assert math.isnan(metrics.sd([0.3]))


def test_relative_error_increase():
    assert metrics.relative_error_increase(0.7, 0.8) == pytest.approx(0.5)
    assert metrics.relative_error_increase(0.9, 0.8) == pytest.approx(-0.5)
    assert math.isnan(metrics.relative_error_increase(0.9, 1.0))


def test_interval_by_hand():
    entry = {"a": Sample(0.7, 0.02, 4), "b": Sample(0.9, 0.01, 4)}
    reference = {"a": Sample(0.8, 0.01, 3), "b": Sample(0.8, 0.04, 3), "only here": Sample(0.5, 0.1, 3)}
    got = metrics.relative_error_increase_interval(entry, reference)
    # errors 0.3 / 0.2 and 0.1 / 0.2
    terms = [
        (0.02**2 / (4 * 0.04), 3),
        (0.09 * 0.01**2 / (3 * 0.0016), 2),
        (0.01**2 / (4 * 0.04), 3),
        (0.01 * 0.04**2 / (3 * 0.0016), 2),
    ]
    variance = sum(v for v, _ in terms)
    degrees = variance**2 / sum(v**2 / d for v, d in terms)
    assert got.value == pytest.approx((0.5 - 0.5) / 2)
    assert got.degrees == pytest.approx(degrees)
    from scipy.stats import t

    half = t.ppf(0.975, degrees) * math.sqrt(variance) / 2
    assert (got.low, got.high) == pytest.approx((-half, half))
    assert got.tasks == ("a", "b")


def test_student_quantile_of_the_printed_table():
    assert metrics.student_t_quantile(0.975, 4) == pytest.approx(2.776, abs=5e-4)
    assert metrics.student_t_quantile(0.975, 2.0) == pytest.approx(4.303, abs=5e-4)


def test_interval_needs_two_seeds_everywhere():
    two, one = Sample.of([0.7, 0.72]), Sample.of([0.8])
    got = metrics.relative_error_increase_interval({"a": two}, {"a": one})
    assert got.value == pytest.approx(0.29 / 0.2 - 1)
    assert math.isnan(got.low)
    assert math.isnan(got.high)


def test_perfect_reference_is_left_out_and_reported():
    entry = {"a": Sample.of([0.9, 0.9]), "b": Sample.of([0.7, 0.7])}
    reference = {"a": Sample.of([1.0, 1.0]), "b": Sample.of([0.8, 0.8])}
    got = metrics.relative_error_increase_interval(entry, reference)
    assert got.perfect == ("a",)
    assert got.tasks == ("b",)
    assert (got.value, got.low, got.high) == pytest.approx((0.5, 0.5, 0.5)), "no spread over seeds, no width"
    nothing = metrics.relative_error_increase_interval({"a": entry["a"]}, {"a": reference["a"]})
    assert math.isnan(nothing.value)
    assert nothing.tasks == ()


@given(
    st.lists(
        st.tuples(st.lists(accuracies, min_size=2, max_size=5), st.lists(accuracies, min_size=2, max_size=5)),
        max_size=4,
    ),
    st.randoms(),
)
def test_interval_holds_its_value_and_ignores_order(cells, random):
    entry = {str(i): a for i, (a, _) in enumerate(cells)}
    reference = {str(i): b for i, (_, b) in enumerate(cells)}
    first = metrics.relative_error_increase_interval(
        *({k: Sample.of(v) for k, v in m.items()} for m in (entry, reference))
    )

    def shuffled(table):
        keys = list(table)
        random.shuffle(keys)
        return {k: Sample.of(random.sample(table[k], len(table[k]))) for k in keys}

    second = metrics.relative_error_increase_interval(shuffled(entry), shuffled(reference))
    assert repr(first) == repr(second)
    if cells:
        assert first.low <= first.value <= first.high
        smallest = min(len(v) for v in [*entry.values(), *reference.values()]) - 1
        most = sum(len(v) - 1 for v in [*entry.values(), *reference.values()])
        assert math.isinf(first.degrees) or smallest * (1 - 1e-9) <= first.degrees <= most * (1 + 1e-9)


@given(st.lists(accuracies, min_size=1, max_size=6))
def test_an_entry_equal_to_its_reference_has_no_increase(values):
    cell = {"a": Sample.of(values)}
    assert metrics.relative_error_increase_interval(cell, cell).value == 0.0
