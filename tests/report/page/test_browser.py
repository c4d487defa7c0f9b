"""The page in a real Chromium: sort, filter, hover, share, print, keyboard, accessibility, hostile names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from many import NASTY, make

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (380, 900, 1500)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None and os.environ.get("SPARSEBENCH_REQUIRE_BROWSER") != "1":
        pytest.skip("there is no Chromium")
    assert CHROMIUM is not None, "there is no Chromium"
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def file(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def seen_file(seen_page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seen") / "report.html"
    path.write_text(seen_page, encoding="utf-8")
    return path


class Tab:
    """A page, and what it said and asked for."""

    def __init__(self, chromium: Any, address: str, **more: Any) -> None:
        self.page = chromium.new_page(**({"viewport": {"width": 1500, "height": 900}} | more))
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def names(self, board: int = 0) -> list[str]:
        """Return the visible entries of a board, from above."""
        script = """at => [...document.querySelectorAll('.board')[at].querySelectorAll('tr[data-row]')]
            .filter(row => row.checkVisibility()).map(row => row.querySelector('th').dataset.v)"""
        found: list[str] = self.page.evaluate(script, board)
        return found


@pytest.fixture
def open_tab(chromium: Any, file: Path) -> Iterator[Any]:
    tabs: list[Tab] = []

    def start(query: str = "", path: Path = file, **more: Any) -> Tab:
        tabs.append(Tab(chromium, path.as_uri() + query, **more))
        return tabs[-1]

    yield start
    for tab in tabs:
        assert tab.said == []  # nothing on the console, no dialog
        assert all(url.startswith(("file:", "data:")) for url in tab.asked)
        assert sum(url.startswith("file:") for url in tab.asked) <= 2  # the page itself, and again where it is reloaded
        tab.page.close()


def test_the_first_view_is_one_board_and_filters_narrow_it(open_tab) -> None:
    tab = open_tab()
    assert len(tab.names(0)) == 12
    assert tab.names(1) == []
    tab.page.select_option("select[name=mode]", "all")
    assert len(tab.names(1)) == 12
    tab.page.check("input[name=method][value=gmp]", force=True)
    assert tab.names(0)
    assert all(".gmp_" in name for name in tab.names(0))
    shown = "[...document.querySelectorAll('.board .plot')][0].querySelectorAll('.mark:not(.off)').length"
    assert tab.page.evaluate(shown) == len(tab.names(0))
    tab.page.fill("input[name=q]", "nothing has this name")
    assert tab.page.is_visible("#none")
    tab.page.click("button[type=reset]")
    assert len(tab.names(0)) == 12
    assert tab.page.url.endswith("report.html")


def test_a_sparsity_is_a_filter(open_tab) -> None:
    tab = open_tab()
    tab.page.select_option("select[name=from]", "0.8")
    assert tab.names()
    assert all(name.endswith("_s80") for name in tab.names())


def test_columns_sort_both_ways_and_say_so(open_tab) -> None:
    tab = open_tab()
    head = ".board th[data-sort=accuracy]"
    values = "[...document.querySelector('.board').querySelectorAll('tr[data-row]')].map(r => +r.cells[5].dataset.v)"
    tab.page.click(f"{head} button >> nth=0")
    assert tab.page.get_attribute(f"{head} >> nth=0", "aria-sort") == "descending"
    found = tab.page.evaluate(values)
    assert found == sorted(found, reverse=True)
    tab.page.click(f"{head} button >> nth=0")
    assert tab.page.get_attribute(f"{head} >> nth=0", "aria-sort") == "ascending"
    assert tab.page.evaluate(values) == found[::-1]
    tab.page.click(".board th[data-sort=name] button >> nth=0")
    numbers = [int(name.rpartition("_v")[2].partition("_")[0]) for name in tab.names() if ".gmp_" in name]
    assert numbers == [1, 10]  # as people count


def test_an_address_gives_the_same_view_again(open_tab) -> None:
    tab = open_tab()
    tab.page.select_option("select[name=mode]", "full")
    tab.page.check("input[name=method][value=rigl]", force=True)
    tab.page.check("input[name=tasks]")
    tab.page.click(".board:not([hidden]) th[data-sort=error] button")
    tab.page.click(".board:not([hidden]) th[data-sort=error] button")
    query = tab.page.url.partition("report.html")[2]
    other = open_tab(query)
    assert other.names(1) == tab.names(1) != []
    assert other.names(0) == []
    assert other.page.is_visible(".board:not([hidden]) th.t >> nth=0")
    assert other.page.get_attribute(".board:not([hidden]) th[data-sort=error]", "aria-sort") == "descending"
    assert other.page.url.partition("report.html")[2] == query


def test_a_link_to_a_checkpoint_opens_its_section(open_tab) -> None:
    tab = open_tab("#c-resnet50.dense")
    assert tab.page.evaluate("document.getElementById('c-resnet50.dense').open")
    assert tab.page.is_visible("text=A note.")


def test_hovering_says_what_a_mark_a_layer_and_a_pair_is(open_tab) -> None:
    tab = open_tab()
    mark = tab.page.locator(".board .plot").first.locator(".mark").last
    mark.hover(force=True)
    row = mark.get_attribute("data-row")
    name = tab.page.get_attribute(f".board tr[data-row='{row}'] th", "data-v")
    assert name in tab.page.inner_text("#tip")
    assert "Mean accuracy" in tab.page.inner_text("#tip")
    tab.page.click(".wins summary >> nth=0")
    matrix = tab.page.locator(".matrix").first
    matrix.hover(position={"x": matrix.bounding_box()["width"] - 8, "y": 8})
    assert "more accurate than" in tab.page.inner_text("#tip")
    tab.page.evaluate("location.hash = '#c-resnet50.dense'")
    tab.page.locator("[id='c-resnet50.dense'] .layers").hover(position={"x": 60, "y": 50})
    assert "layer1.0.conv2.weight" in tab.page.inner_text("#tip")


def test_arrow_keys_go_through_a_chart(open_tab) -> None:
    tab = open_tab()
    tab.page.locator(".board .chart").first.focus()
    tab.page.keyboard.press("ArrowRight")
    first = tab.page.inner_text("#tip")
    tab.page.keyboard.press("ArrowRight")
    assert first != tab.page.inner_text("#tip") != ""
    tab.page.keyboard.press("Enter")
    assert "#c-" in tab.page.url


def test_exemplars_are_drawn_where_their_list_is_opened(open_tab, seen_file: Path) -> None:
    tab = open_tab("#c-resnet50.gmp_v1_s50", seen_file)
    image = tab.page.locator("[id='c-resnet50.gmp_v1_s50'] .exemplars svg").first
    assert not image.is_visible()
    tab.page.locator("[id='c-resnet50.gmp_v1_s50'] summary:has-text('exemplars')").first.click()
    assert image.bounding_box()["width"] == 64
    drawn = "use => document.getElementById(use.getAttribute('href').slice(1)).decode().then(() => true)"
    assert image.locator("use").evaluate(drawn)


def test_verdicts_sort_by_their_words(open_tab, seen_file: Path) -> None:
    tab = open_tab("?sort=verdict", seen_file)
    assert ".gmp_" in tab.names()[0]
    assert tab.page.get_attribute(".board th[data-sort=verdict] >> nth=0", "aria-sort") == "ascending"


def test_names_that_look_like_markup_are_harmless(open_tab, nasty: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(make(nasty), encoding="utf-8")
    tab = open_tab("?mode=all", path)
    name = f"checkpoint{NASTY}"
    assert name in tab.names()
    tab.page.click("label.chip:has(input[value^='method<script>']) span", force=True)
    assert tab.page.url.count("%3Cscript%3E") >= 1
    mark = tab.page.locator(".board .plot .mark:not(.off)").first
    mark.hover(force=True)
    assert tab.page.evaluate("document.scripts.length") == 1


def test_without_javascript_everything_is_there(open_tab) -> None:
    tab = open_tab(java_script_enabled=False)
    assert tab.page.locator(".board").count() == 2
    assert all(board.is_visible() for board in tab.page.locator(".board table").first.locator("tr").all()[:3])
    assert not tab.page.is_visible("#filters")
    assert tab.page.is_visible(".board .plot >> nth=0")


def test_on_paper_filters_are_left_out(open_tab) -> None:
    tab = open_tab()
    tab.page.emulate_media(media="print")
    assert not tab.page.is_visible("#filters")
    assert tab.page.is_visible(".board table >> nth=0")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_rules_for_accessibility_hold_at_each_width_and_scheme(
    open_tab, seen_file: Path, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = open_tab(
        "?mode=all&tasks=1&method=gmp", seen_file, viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width  # the tables scroll, the page doesn't
    tab.page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    found = axe.Axe().run(tab.page)
    assert found.violations_count == 0, found.generate_report()
