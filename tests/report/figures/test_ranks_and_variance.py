"""Figures of ranks, win rates and variance: what is drawn, and what is said beside it."""

import math

import numpy as np
import pytest
from scipy.stats import friedmanchisquare, studentized_range

from sparsebench.report.aggregate import Aggregate, aggregate
from sparsebench.report.figures.names import entry_names
from sparsebench.report.figures.ranks import critical_difference_figure, win_rate_figure
from sparsebench.report.figures.variance import trainings_figure, variance_figure
from sparsebench.report.win_rates import win_rates_of

RATES = {"mini.dense": 0.8, "mini.acdc_s90": 0.7, "mini.gmp_s90": 0.6, "mini.gmp_s80": 0.75}


@pytest.fixture
def group(rows, table):
    """One group of four entries on three tasks."""
    parts = []
    for place, (name, rate) in enumerate(RATES.items()):
        rng = np.random.default_rng(place)
        cells = {task: [rate + rng.normal(0.0, 0.03), rate + rng.normal(0.0, 0.03)] for task in "abc"}
        method = name.split(".")[1].split("_")[0]
        parts.append(rows(name, method, cells, sparsity={"80": 0.8, "90": 0.9}.get(name[-2:], 0.0)))
    ((_, part),) = aggregate(table(*parts)).groups()
    return part


def with_sds(part, **columns):
    return Aggregate(part.cells, part.summary.assign(**columns))


def test_entries_are_called_by_method_and_sparsity(group):
    names = {
        "mini.dense": "Dense",
        "mini.acdc_s90": "AC/DC 90 %",
        "mini.gmp_s90": "GMP 90 %",
        "mini.gmp_s80": "GMP 80 %",
    }
    assert entry_names(group) == names


def test_bars_of_mean_ranks_are_half_the_critical_difference(group):
    picture = critical_difference_figure(group)
    errors = np.array([[1 - group.cell(name, task).mean for task in "abc"] for name in RATES])
    reach = studentized_range.ppf(0.95, 4, np.inf) / 2**0.5 * (4 * 5 / (6 * 3)) ** 0.5
    assert f"the critical difference is {reach:.1f}" in picture.caption
    assert f"p = {friedmanchisquare(*errors).pvalue:.2g}" in picture.caption
    left = picture.canvas.axes[0]
    bars = [line.get_xdata() for line in left.lines if len(line.get_xdata()) == 2]
    dots = [float(np.ravel(line.get_xdata())[0]) for line in left.lines if len(np.ravel(line.get_xdata())) == 1]
    assert dots == sorted(dots)
    for bar, dot in zip(bars, dots, strict=True):
        assert list(bar) == pytest.approx([max(1, dot - reach / 2), min(4, dot + reach / 2)])
    assert picture.png.startswith(b"\x89PNG")


def test_rank_intervals_stand_beside_where_there_are_any(group):
    assert len(critical_difference_figure(group).canvas.axes) == 2
    without = with_sds(group, rank_low=math.nan, rank_high=math.nan)
    picture = critical_difference_figure(without)
    assert len(picture.canvas.axes) == 1
    assert "Right" not in picture.caption
    assert picture.caption.startswith("Mean rank by accuracy of 4 entries")


def test_one_task_or_one_entry_has_no_critical_difference(rows, table):
    one_task = table(*(rows(n, "acdc", {"a": [r]}) for n, r in RATES.items()))
    one_entry = table(rows("mini.dense", "dense", {"a": [0.5], "b": [0.5]}))
    for frame in (one_task, one_entry):
        ((_, part),) = aggregate(frame).groups()
        assert critical_difference_figure(part) is None


def test_a_win_rate_matrix_shows_its_rates(group):
    (found,) = win_rates_of(group)
    picture = win_rate_figure(found, group)
    drawn = picture.canvas.axes[0].images[0].get_array()
    assert np.array_equal(np.ma.filled(drawn, np.nan), found.rates, equal_nan=True)
    texts = [text.get_text() for text in picture.canvas.axes[0].texts]
    assert texts == [f"{100 * rate:.0f}" for rate in found.rates.ravel() if not math.isnan(rate)]


def test_variance_by_source_and_method(group):
    assert variance_figure(group) is None
    part = with_sds(group, sd_images=0.03, sd_seeds=0.01, sd_tasks=0.1)
    picture = variance_figure(part)
    (axes,) = picture.canvas.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Dense", "GMP", "AC/DC"]
    assert [list(line.get_xdata()) for line in axes.lines] == [pytest.approx([v] * 3) for v in (0.03, 0.01, 0.1)]
    assert "No entry has a second upstream training" in picture.caption
    assert trainings_figure(part) is None


def test_what_more_trainings_would_show(group):
    replicated = group.summary["checkpoint"].eq("mini.gmp_s90")
    part = with_sds(
        group,
        sd_images=0.03,
        sd_replicates=np.where(replicated, 0.0, math.nan),
        sd_observed=np.where(replicated, 0.02, math.nan),
        n_replicates=np.where(replicated, 3, 1),
    )
    picture = trainings_figure(part)
    curve = picture.canvas.axes[0].lines[0]
    by_count = dict(zip(curve.get_xdata(), curve.get_ydata(), strict=True))
    # two-sided t test at 5 % with a power of 80 %: 5 and 17 of each for 2.02 and 0.99 standard deviations
    assert by_count[5] == pytest.approx(0.02 * 2.02, rel=0.01)
    assert "from 1 entry (mini.gmp_s90) with 2 degrees of freedom" in picture.caption
    assert "2.0 points [1.0, 12.6]" in picture.caption
    assert "too few to know it within a factor of two" in picture.caption
