"""Rank intervals, win rates and critical differences."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from sparsebench.analysis import (
    components,
    critical_difference,
    friedman,
    interval,
    mean_ranks,
    rank_intervals,
    relative_error_increases,
    win_rates,
)
from sparsebench.analysis.ranks import covariance, pair_variances, ranks_of
from sparsebench.analysis.simulation import Shape, draw


def parts_of(gaps, seed=0, random_tasks=False, **kind):
    panels = draw(Shape(gaps=gaps, **kind), np.random.default_rng(seed)).panels
    return components(relative_error_increases(panels, {str(m): "0" for m in range(1, len(gaps))}), random_tasks)


def test_clear_differences_give_clear_ranks():
    got = rank_intervals(parts_of((0.0, 0.0, 2.0, 1.0), images=2000))
    assert got.low.tolist() == got.high.tolist() == [1, 3, 2]


def test_equal_entries_share_all_ranks():
    got = rank_intervals(parts_of((0.0,) * 6))
    assert got.low.tolist() == [1] * 5
    assert got.high.tolist() == [5] * 5


def test_intervals_follow_from_what_is_shown_to_be_lower():
    got = rank_intervals(parts_of((0.0, 0.0, 0.0, 0.6, 0.6), images=1000))
    assert got.low.tolist() == [1, 1, 3, 3]
    assert got.high.tolist() == [2, 2, 4, 4]
    assert got.below.sum() == 4


def test_the_level_is_between_bonferroni_and_one_test_and_tukeys_for_independent_entries():
    from sparsebench.analysis.ranks import _level

    level = _level(np.eye(5), 0.95, 20_000, 0)
    tukey = stats.studentized_range.ppf(0.95, 5, np.inf) / 2**0.5
    assert level == pytest.approx(2 * stats.norm.sf(tukey), rel=0.1)
    assert 0.05 / 10 <= level <= 0.05


KINDS = [
    {"images": 800},
    {"images": 120, "classes": 10, "seeds": 2},
    {"images": 300, "cluster": 8, "seeds": 1, "replicates": 3},
    {"images": 100, "seeds": 2, "paired": False, "error": 0.05},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("random_tasks", [False, True])
def test_pairs_have_the_variance_of_their_own_intervals(kind, random_tasks):
    parts = parts_of((0.0, 0.1, 0.1, 0.3, -0.2), random_tasks=random_tasks, **kind)
    found = [np.broadcast_arrays(v, df, np.eye(4))[:2] for v, df in pair_variances(parts)]
    unit = np.eye(4)
    for j, k in combinations(range(4), 2):
        alone = interval(parts, unit[j] - unit[k])
        pair = [(v[j, k], df[j, k]) for v, df in found if v[j, k] > 0]
        assert pair == [pytest.approx(part) for part in alone.parts]


def test_the_covariance_is_that_of_the_pairs():
    parts = parts_of((0.0, 0.1, 0.2, 0.3), images=800)
    sigma = covariance(parts)
    assert np.linalg.eigvalsh(sigma).min() > -1e-12
    for j, k in combinations(range(3), 2):
        alone = interval(parts, np.eye(3)[j] - np.eye(3)[k])
        assert sigma[j, j] + sigma[k, k] - 2 * sigma[j, k] == pytest.approx(alone.variance, rel=0.25)


def test_what_rounding_leaves_of_equal_entries_is_no_variance():
    """Two entries with the same outcomes differ by the added unit alone, however many images there are."""
    panels = draw(Shape(gaps=(0.0, 0.2, 0.2), images=5000), np.random.default_rng(1)).panels
    same = [replace(p, models=p.models | {"2": p.models["1"]}) for p in panels]
    parts = components(relative_error_increases(same, {"1": "0", "2": "0"}))
    (images, df), *others = pair_variances(parts)
    alone = interval(parts, np.array([1.0, -1.0]))
    assert images[0, 1] == pytest.approx(alone.variance)
    assert df[0, 1] == np.inf
    assert all(v[0, 1] < 1e-15 for v, _ in others)
    assert rank_intervals(parts).high.tolist() == [2, 2]


def test_one_entry_is_first():
    got = rank_intervals(parts_of((0.0, 0.1)))
    assert (got.low.tolist(), got.high.tolist()) == ([1], [1])


def test_win_rates_by_hand():
    rates = win_rates(np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.1, 0.3, 0.5]]))
    assert rates[0, 1] == 0.625
    assert rates[1, 0] == 0.375
    assert np.isnan(rates[0, 0])


def test_mean_ranks_friedman_and_critical_difference():
    by_task = np.array([[0.1, 0.1, 0.3], [0.2, 0.1, 0.2], [0.3, 0.4, 0.1]])
    assert mean_ranks(by_task) == pytest.approx([(1 + 1.5 + 3) / 3, (2 + 1.5 + 2) / 3, (3 + 3 + 1) / 3])
    expected = stats.friedmanchisquare(*by_task)
    assert friedman(by_task) == pytest.approx((expected.statistic, expected.pvalue))
    # Demsar (2006), table 5: q is 2.569 for four entries
    assert critical_difference(4, 14) == pytest.approx(2.569 * (4 * 5 / (6 * 14)) ** 0.5, abs=1e-3)
    with pytest.raises(ValueError, match="no critical difference"):
        critical_difference(1, 3)


def test_plain_ranks_share_the_lowest():
    assert ranks_of([0.3, 0.1, 0.1, 0.5]).tolist() == [3, 1, 1, 4]
