"""Which classes are taken for which others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.analysis.confused_pairs import ConfusedPair, most_confused


def test_pairs_are_counted_over_runs_most_frequent_first() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    runs = [np.array([1, 1, 0, 0, 1, 2]), np.array([1, 0, 2, 1, 1, 0])]
    assert most_confused(labels, runs) == [
        ConfusedPair(0, 1, 3, 6), ConfusedPair(0, 2, 1, 6), ConfusedPair(1, 0, 1, 4), ConfusedPair(2, 0, 1, 2),
    ]  # fmt: skip
    assert most_confused(labels, runs, most=1)[0].share == 0.5


def test_nothing_is_confused_without_errors_or_runs() -> None:
    labels = np.array([0, 1])
    assert most_confused(labels, [labels]) == []
    assert most_confused(labels, []) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=60))
def test_all_pairs_together_are_all_errors(images) -> None:
    labels, predicted = (np.array(values) for values in zip(*images, strict=True))
    pairs = most_confused(labels, [predicted], most=1000)
    assert sum(pair.count for pair in pairs) == int((labels != predicted).sum())
    assert all(0 < pair.count <= pair.of and pair.true != pair.predicted for pair in pairs)
    assert [pair.count for pair in pairs] == sorted((pair.count for pair in pairs), reverse=True)
