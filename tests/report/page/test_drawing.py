"""Marks, axes, fronts and colours of the page's charts."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.registry.names import method_names
from sparsebench.report.page.charts import BAR, IntervalBars, pareto
from sparsebench.report.page.colours import CONTRAST, DARK, LIGHT, contrast, page_colours, readable
from sparsebench.report.page.svg import Scale, element, mark_path, short
from sparsebench.report.page.texts import interval, quantity

PLACES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30)


@given(PLACES, st.sampled_from(["left", "right"]))
def test_the_front_is_what_nothing_dominates(places, better) -> None:
    sign = 1 if better == "left" else -1

    def dominated(x: int, y: int) -> bool:  # less is higher on a screen
        return any(sign * a <= sign * x and b <= y and (a, b) != (x, y) for a, b in places)

    front = {places[at] for at in pareto(places, better)}
    assert front == {place for place in places if not dominated(*place)}


def test_attributes_and_text_are_escaped() -> None:
    assert element("text", "<b>", data_name='"&') == '<text data-name="&#34;&amp;">&lt;b&gt;</text>'


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e4), st.booleans())
def test_ticks_lie_within_the_scale_in_order(low: float, ratio: float, log: bool) -> None:
    scale = Scale(low, low * ratio, 0, 100, log)
    ticks = scale.ticks()
    assert ticks == sorted(set(ticks))
    assert all(-1e-6 <= scale(tick) <= 100 + 1e-6 for tick in ticks)
    assert len(ticks) <= 8


def test_one_value_has_a_scale_of_its_own() -> None:
    scale = Scale.around([0.5], 0, 10)
    assert scale(0.5) == pytest.approx(5)


@pytest.mark.parametrize(
    "marker", ["o", "^", "v", "<", ">", "s", "D", "d", "p", "h", "H", "8", "*", "P", "X", "unknown"]
)
def test_a_marker_is_a_closed_outline_around_its_place(marker: str) -> None:
    path = mark_path(marker)
    assert path.startswith("M")
    assert path.endswith("z")
    assert all(abs(float(n)) <= 10 for n in re.findall(r"-?[\d.]+", path))


def test_markers_of_the_declared_methods_differ() -> None:
    markers = {name: known.marker for name, known in method_names().items() if known.marker}
    drawn = {name: mark_path(marker) for name, marker in markers.items()}
    assert len(set(drawn.values())) == len(set(markers.values()))


@pytest.mark.parametrize("method", [*method_names(), "somebody's own"])
def test_colours_of_methods_can_be_seen_on_both_pages(method: str) -> None:
    light, dark = page_colours(method)
    assert contrast(light, LIGHT) >= CONTRAST
    assert contrast(dark, DARK) >= CONTRAST


def test_a_colour_that_can_be_seen_is_kept() -> None:
    assert readable("#332288", LIGHT) == "#332288"
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_a_bar_far_beyond_the_others_is_cut_and_says_so() -> None:
    usual = [(v / 100, v / 100 - 0.02, v / 100 + 0.02) for v in range(40)]
    bars = IntervalBars.of([*usual, (9.0, 8.5, 9.5)])
    inside, outside = bars.bar(0.1, 0.08, 0.12, "k1"), bars.bar(9.0, 8.5, 9.5, "k1")
    assert "<circle" in inside
    assert "<circle" not in outside
    assert "l4 4l-4 4" in outside
    assert all(0 <= float(n) <= BAR for n in re.findall(r"H([\d.]+)", outside))


def test_without_an_interval_there_is_a_point_alone() -> None:
    bars = IntervalBars.of([(0.1, math.nan, math.nan), (0.3, 0.2, 0.4)])
    assert "whisker" not in bars.bar(0.1, math.nan, math.nan, "k1")
    assert bars.bar(math.nan, math.nan, math.nan, "k1") == ""
    assert interval(math.nan, math.nan) == ""


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(422_000, 1e6, "0.422"), (2.47e6, 1e6, "2.47"), (16210, 1, "16,210"), (37.2, 1, "37.2"), (0, 1, "0")],
)
def test_quantities_have_three_digits(value: float, unit: float, text: str) -> None:
    assert quantity(value, unit).text == text


def test_ticks_have_a_real_minus_and_no_needless_zeros() -> None:
    assert [short(v) for v in (-20.0, 0.0, 2.5, 10000)] == ["−20", "0", "2.5", "10,000"]
