"""McNemar, Holm and Welch against scipy, or by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sparsebench.analysis import discordant, holm, mcnemar, welch


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_discordant_images_of_single_runs():
    wrong = np.array([[0, 0, 1, 1, 0, 1]], dtype=bool)
    other = np.array([[1, 0, 0, 1, 1, 0]], dtype=bool)
    assert discordant(wrong, other) == (2, 2)
    assert discordant(wrong, wrong) == (0, 0)


def test_with_several_runs_an_image_counts_for_who_got_it_right_more_often():
    wrong = np.array([[0, 0, 1, 0], [0, 1, 1, 1], [0, 1, 1, 0]], dtype=bool)  # right in 3, 1, 0, 2 of 3
    other = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 1, 0]], dtype=bool)  # right in 1, 1, 1, 2 of 3
    assert discordant(wrong, other) == (1, 1)
    assert discordant(wrong, np.concatenate([wrong, wrong])) == (0, 0), "fractions, not counts"


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_one_test_and_bonferroni(p):
    adjusted = holm(p)
    for own, value in zip(p, adjusted, strict=True):
        assert own <= value <= 1.0
    assert min(adjusted) == pytest.approx(min(1.0, len(p) * min(p)))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_welch_is_scipys():
    rng = np.random.default_rng(3)
    for n, m in ((2, 5), (5, 3), (30, 4)):
        x, y = rng.normal(size=n), rng.normal(0.5, 3.0, size=m)
        expected = stats.ttest_ind(x, y, equal_var=False)
        assert welch(x, y) == pytest.approx((expected.statistic, expected.df, expected.pvalue))
    assert welch(np.ones(3), np.ones(2))[2] == 1.0
    assert welch(np.ones(3), np.zeros(2))[2] == 0.0
    with pytest.raises(ValueError, match="each needs two"):
        welch(np.ones(1), np.ones(2))
