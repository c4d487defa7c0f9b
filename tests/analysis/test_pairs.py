"""McNemar, Holm and Welch against scipy, or by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sparsebench.analysis import clustered_mcnemar, discordant, holm, mcnemar, welch


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


def by_enumeration(balance, clusters):
    """The sign-flip test's p-value from every pattern of signs."""
    sums = [int(balance[clusters == g].sum()) for g in np.unique(clusters)]
    seen = abs(sum(sums))
    flips = list(product((-1, 1), repeat=len(sums)))
    return sum(abs(sum(s * d for s, d in zip(signs, sums, strict=True))) >= seen for signs in flips) / len(flips)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_clustered_mcnemar_is_the_enumeration_of_signs(seed, sources):
    rng = np.random.default_rng(seed)
    balance, clusters = rng.integers(-1, 2, 40), rng.integers(0, sources, 40)
    assert clustered_mcnemar(balance, clusters) == pytest.approx(by_enumeration(balance, clusters))
    assert clustered_mcnemar(-balance, clusters) == pytest.approx(clustered_mcnemar(balance, clusters))


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_clustered_mcnemar_of_single_images_is_mcnemar(first, second):
    balance = np.array([1] * first + [-1] * second + [0] * 5)
    assert clustered_mcnemar(balance, np.arange(len(balance))) == pytest.approx(mcnemar(first, second))


def test_images_of_one_source_count_less():
    balance = np.array([1] * 20)
    assert clustered_mcnemar(balance, np.arange(20)) < 1e-4
    assert clustered_mcnemar(balance, np.arange(20) // 5) == pytest.approx(2 / 2**4)
