"""Outliers off the scale, labels beside points, and the figures over upstream accuracy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sparsebench.report import aggregate
from sparsebench.report.figures.canvas import Canvas, paper_style
from sparsebench.report.figures.labels import place_labels
from sparsebench.report.figures.offscale import Scale, arrange
from sparsebench.report.figures.over_sparsity import relative_error_figure
from sparsebench.report.figures.panel import Dot, Panel, caption_of
from sparsebench.report.figures.series import Series
from sparsebench.report.figures.upstream import rank_correlation, upstream_by_task, upstream_figure
from sparsebench.report.style import signed_percent, variant_fill

VALUES = [-0.03, -0.02, 0.0, 0.02, 0.03, 0.07, 0.14, 0.15, 0.17, 0.25]
SERIES = Series("AC/DC", "#cc6677", "#cc6677", "o", "-", "sparse", ())


def dots(values):
    return [Dot(SERIES, float(i), v, v - 0.01, v + 0.01) for i, v in enumerate(values)]


def test_far_outliers_leave_the_scale():
    scale = Scale.of([*VALUES, 2.21, 4.02], [0.0], "high")
    assert scale.high < 0.5
    assert [v for v in [*VALUES, 2.21, 4.02] if scale.is_off(v)] == [2.21, 4.02]


def test_low_accuracies_leave_the_scale_below():
    values = [0.58, 0.57, 0.57, 0.56, 0.55, 0.54, 0.52, 0.02, 0.11]
    scale = Scale.of(values, [0.577], "low")
    assert scale.low > 0.4
    assert [v for v in values if scale.is_off(v)] == [0.02, 0.11]


@pytest.mark.parametrize("values", [VALUES, [0.1, 0.2, 5.0], [0.1] * 6, [], [0.3, 0.35, 0.4, 0.45, 0.62]])
def test_all_stay_where_there_is_no_need(values):
    scale = Scale.of(values, [0.0], "high")
    assert math.isnan(scale.fence)
    assert not any(map(scale.is_off, values))


finite = st.floats(-1, 50, allow_subnormal=False)


@given(st.lists(finite, max_size=30), st.lists(finite, max_size=5), st.sampled_from(["high", "low", None]))
def test_a_value_is_in_sight_or_in_the_strip(values, also, worse):
    scale = Scale.of(values, also, worse)
    assert scale.low < scale.high
    for value in values:
        assert scale.is_off(value) != (scale.low <= value <= scale.high)
    if worse is None:
        assert not any(map(scale.is_off, values))


@given(st.lists(st.floats(0, 2.8), max_size=12), st.integers(1, 5))
def test_labels_of_the_strip_never_touch(places, length):
    found = arrange(places, ["9" * length] * len(places), 2.8)
    boxes = [
        (place.row, x - 0.06, x + 0.06 + 0.05 * length)
        if place.side == "right"
        else (place.row, x - 0.06 - 0.05 * length, x + 0.06)
        for x, place in zip(places, found, strict=True)
    ]
    for i, (row, left, right) in enumerate(boxes):
        assert all(row != r or right <= a or left >= b for r, a, b in boxes[:i])


def panel_on_axes(values, worse="high"):
    panel = Panel.of(dots(values), (-1.0, len(values)), worse)
    with paper_style():
        canvas = Canvas(1, 1, 3.5, 1.9, ["AC/DC"])
        panel.draw(canvas.axes[0], canvas.panel_size, signed_percent)
    return panel, canvas.axes[0]


def test_an_outlier_is_drawn_with_its_value_and_no_tick_lies_in_the_strip():
    panel, axes = panel_on_axes([*VALUES, 4.02])
    assert [text.get_text() for text in axes.texts] == ["+402"]
    assert panel.has_strip
    assert "grey strip" in caption_of([panel])
    low, high = axes.get_ylim()
    assert high < 0.6
    assert all(panel.scale.low <= tick <= panel.scale.high for tick in axes.get_yticks())
    assert low == panel.scale.low


def test_without_outliers_there_is_no_strip():
    panel, axes = panel_on_axes(VALUES)
    assert not axes.texts
    assert caption_of([panel]) == ""
    assert axes.get_ylim() == (panel.scale.low, panel.scale.high)


def test_a_point_without_a_bar_is_explained():
    panel = Panel.of([Dot(SERIES, 0.0, 0.5), Dot(SERIES, 1.0, math.nan)], (0, 1), "low")
    assert len(panel.dots) == 1
    assert caption_of([panel]) == "No bar: one seed."


def test_the_main_figure_survives_a_collapse(rows, table):
    names = [f"m{i}" for i in range(7)]
    parts = [rows(f"mini.{n}", n, {"a": [0.7 + 0.01 * i, 0.7 + 0.011 * i]}) for i, n in enumerate(names)]
    worst = rows("mini.lth", "lth", {"a": [0.01, 0.02]})
    statistics = aggregate(table(rows("mini.dense", "dense", {"a": [0.75, 0.76]}), worst, *parts))
    assert relative_error_figure(statistics).png.startswith(b"\x89PNG")


def test_labels_avoid_points_and_each_other():
    close = [Dot(SERIES, x, 0.5, label="90") for x in (0.50, 0.51, 0.52, 0.9)]
    with paper_style():
        canvas = Canvas(1, 1, 3.5, 1.9, [])
        axes = canvas.axes[0]
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        place_labels(axes, canvas.panel_size, close)
        canvas.figure.canvas.draw()
        # a text's own box leaves room for descenders, which digits don't have
        boxes = [text.get_window_extent().expanded(1.0, 0.8) for text in axes.texts]
    assert 2 <= len(boxes) <= 4
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_variants_grow_paler():
    assert variant_fill("#112233", 0) == "#112233"
    assert variant_fill("#112233", 2) == variant_fill("#112233", 7) == "#ffffff"
    assert variant_fill("#000000", 1) == "#999999"


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=9))
def test_rank_correlation_is_spearmans(pairs):
    x, y = ([pair[i] / 10 for pair in pairs] for i in (0, 1))
    got = rank_correlation(x, y)
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert got == pytest.approx(stats.spearmanr(x, y).statistic)
    else:
        assert math.isnan(got)


def test_upstream_needs_two_known_models(rows, table):
    cells = {"a": [0.5, 0.6], "b": [0.7, 0.7]}
    dense = rows("mini.dense", "dense", cells, upstream_top1=0.3)
    unknown = rows("mini.x", "gmp", cells)
    lone = aggregate(table(dense, unknown))
    assert upstream_figure(lone) is None
    assert upstream_by_task(lone) is None
    both = aggregate(table(dense, unknown, rows("mini.acdc_s90", "acdc", cells, upstream_top1=0.25)))
    assert upstream_figure(both).png.startswith(b"\x89PNG")
    assert upstream_by_task(both).pdf.startswith(b"%PDF")
