"""Intervals from accuracies alone, and variance components."""

import math

import numpy as np
import pytest
from scipy import stats

from sparsebench.analysis import (
    detectable_difference,
    image_bound,
    interval,
    pooled_sd,
    rank_intervals,
    relative_error_interval,
    replicates_needed,
    seeds_components,
    seeds_only,
    variance_sources,
)
from sparsebench.analysis.metrics import Sample
from sparsebench.analysis.simulation import Shape, draw


def test_the_bound_for_images_by_hand():
    # one task: (e/r - 1) with e = 0.2, r = 0.1 on 100 images
    expected = 1.959964 * math.sqrt((0.2 * 0.8 + 4 * 0.1 * 0.9) / (100 * 0.1**2))
    assert image_bound({"digits": (0.2, 0.1)}, {"digits": 100}) == pytest.approx(expected, rel=1e-5)
    assert math.isnan(image_bound({}, {}))


def test_scope_is_seeds_and_missing_sizes_give_no_bound():
    entry, reference = {"digits": Sample.of([0.8, 0.82])}, {"digits": Sample.of([0.9, 0.88])}
    got = seeds_only(entry, reference, {"digits": 100})
    assert got.interval.scope == ("seeds",)
    assert got.images > 0
    assert math.isnan(seeds_only(entry, reference, {}).images)
    assert seeds_only({"digits": Sample.of([0.8])}, reference, {}).interval.scope == ()


def test_the_bound_is_above_the_paired_interval():
    panels = draw(Shape(images=500, seeds=1), np.random.default_rng(0)).panels
    errors = {p.task: (p.error("1"), p.error("0")) for p in panels}
    got = relative_error_interval(panels, "1", "0")
    assert image_bound(errors, {p.task: 500 for p in panels}) > (got.high - got.low) / 2


def test_components_find_what_was_put_in():
    rng = np.random.default_rng(1)
    shape = Shape(images=2000, tasks=3, seeds=5, seed_sd=0.15, gaps=(0.0, 0.0))
    tables = [variance_sources(draw(shape, rng).panels, None, ["0"]) for _ in range(40)]
    seeds = np.mean([table["seeds"][0] ** 2 for table in tables]) ** 0.5
    # a shift of 0.15 of a probit moves the accuracy by 0.15 times the density there; the mean over three tasks
    from scipy.stats import norm

    z = norm.ppf(0.2) + 0.3 * np.cos(2.0 * np.arange(3))
    assert seeds == pytest.approx(0.15 * np.sqrt((norm.pdf(z) ** 2).sum()) / 3, rel=0.15)
    assert math.isnan(tables[0]["replicates"][0])


def test_replicates_for_a_difference():
    # Cohen (1988), table 2.4.1: 17 per group detect an effect of 1.0, 64 one of 0.5, with a power of 80 %
    assert replicates_needed(1.0, 1.0) == 17
    assert replicates_needed(0.5, 1.0) == 64
    assert replicates_needed(100.0, 1.0) == replicates_needed(1.0, 0.0) == 2
    with pytest.raises(ValueError, match="positive"):
        replicates_needed(0.0, 1.0)


def test_components_over_seeds_give_the_same_interval_and_ranks():
    rng = np.random.default_rng(0)
    means = {"mini.dense": 0.8, "mini.a": 0.9, "mini.b": 0.85, "mini.c": 0.85}
    cells = {t: {n: Sample.of(m + 0.005 * rng.standard_normal(5)) for n, m in means.items()} for t in ("x", "y")}
    references = dict.fromkeys(means, "mini.dense")
    parts = seeds_components(list(cells.values()), references)
    alone, base = ({t: own[name] for t, own in cells.items()} for name in ("mini.a", "mini.dense"))
    expected = seeds_only(alone, base, {}).interval
    got = interval(parts, np.array([0.0, 1.0, 0.0, 0.0]))
    assert (got.value, got.low, got.high) == pytest.approx((expected.value, expected.low, expected.high))
    ranks = rank_intervals(parts)
    assert list(ranks.low) == [4, 1, 2, 2]
    assert list(ranks.high) == [4, 1, 3, 3]


def test_the_difference_that_some_replicates_show_is_the_inverse_of_how_many_are_needed():
    for count in (2, 3, 8, 30):
        found = detectable_difference(count, 0.03)
        assert replicates_needed(found * 1.0001, 0.03) == count
        assert replicates_needed(found * 0.9999, 0.03) == count + 1
    with pytest.raises(ValueError, match="two trainings"):
        detectable_difference(1, 0.03)


def test_the_detectable_difference_is_found_by_simulated_t_tests():
    rng, n = np.random.default_rng(0), 5
    gap = detectable_difference(n, 1.0)
    p = stats.ttest_ind(rng.standard_normal((4000, n)) + gap, rng.standard_normal((4000, n)), axis=1).pvalue
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.02)


def test_a_pooled_standard_deviation_and_its_interval():
    values = [stats.norm.rvs(size=n, random_state=n) for n in (2, 4, 3)]
    sd, low, high, df = pooled_sd([np.std(v, ddof=1) for v in values], [len(v) for v in values])
    centred = np.concatenate([v - v.mean() for v in values])
    assert sd == pytest.approx((centred @ centred / 6) ** 0.5)
    assert df == 6
    assert stats.chi2.cdf(6 * sd**2 / np.array([low, high]) ** 2, 6) == pytest.approx([0.975, 0.025])
    assert math.isnan(pooled_sd([], [])[0])
