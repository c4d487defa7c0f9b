"""The page as text: what is on it, that nothing on it is markup that isn't ours, and that it needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from fixtures_seen import IMAGES, PIXEL, reader
from many import TASKS, make, many

from sparsebench.report import intervals
from sparsebench.report.aggregate import aggregate
from sparsebench.report.page import Seen, exemplars
from sparsebench.report.page.exemplars import Gallery
from sparsebench.report.page.palette import Palette
from sparsebench.report.page.sections import sections_of
from sparsebench.report.page.sources import Sources
from sparsebench.store import Predictions, tidy

VOID = {"meta", "input", "br", "path", "circle", "rect", "image", "use"}
OPTIONAL = {"td", "th", "tr", "li", "dt", "dd"}  # HTML lets their ends be left out, and the page does
LIMIT = 4.5e6


class Reader(HTMLParser):
    """Collects a page's elements and text, and sees that each element that must be closed is closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID | OPTIONAL:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def test_every_part_is_there_and_every_link_leads_to_one(page: str) -> None:
    read = Reader(page)
    assert read.open == []
    ids = read.values("id")
    assert len(ids) == len(set(ids))
    inside = [link[1:] for link in read.values("href") if link.startswith("#")]
    assert {"leaderboard", "checkpoints", "tasks", "numbers", "c-resnet50.dense", "t-digits", "n-e46be135"} <= set(ids)
    assert set(inside) <= set(ids)


def test_a_board_has_a_row_per_entry_with_rank_interval_and_bar(page: str, frame: pd.DataFrame) -> None:
    line = aggregate(frame).summary.iloc[1]
    boards = page.split('<article class="board"')[1:]
    assert [board.count("<tr data-row=") for board in boards] == [12, 12]
    row = re.search(rf'<tr data-row="\d+"[^>]*>(?:(?!<tr).)*{re.escape(line["checkpoint"])}.*?(?=<tr)', boards[0], re.S)
    assert row is not None
    low, high = (f"{100 * line[f'relative_error_{end}']:+.1f}".replace("-", "−") for end in ("low", "high"))
    assert f"{low} to {high}" in row[0]
    assert f">{line['rank_low']:.0f}" in row[0]
    assert row[0].count('class="whisker') >= 1


def test_no_two_series_of_a_legend_look_the_same(page: str) -> None:
    legend = page.partition('<ul class="legend"')[2].partition("</ul>")[0]
    looks = re.findall(r'<use href="([^"]*)" class="(mark [^"]*)"', legend)
    assert len(looks) == len(set(looks)) > 9  # two variants of some methods


def test_what_the_registry_says_is_shown_but_no_folder_of_this_machine(page: str) -> None:
    text = " ".join(Reader(page).text)
    for shown in ("Apache-2.0", "a paper", "A note.", "Handwritten digits"):
        assert shown in text
    assert "/secret" not in page


def test_no_date_is_on_the_page(page: str) -> None:
    assert "2026-01-01" not in page


def test_names_that_look_like_markup_are_text(nasty: pd.DataFrame) -> None:
    page = make(nasty)
    read = Reader(page)
    assert [tag for tag, _ in read.elements].count("script") == 1
    assert "<script>alert" not in page
    text = " ".join(read.text)
    for column in ("checkpoint", "task", "method", "arch", "protocol", "numerics"):
        assert f"{column}<script>alert('x')</script>\"&" in text
    inside = [link[1:] for link in read.values("href") if link.startswith("#")]
    assert set(inside) <= set(read.values("id"))


def test_control_characters_are_spelled_out(frame: pd.DataFrame) -> None:
    page = make(frame.assign(checkpoint=frame["checkpoint"].str.replace("resnet50.gmp_v1_s50", "bad\u202ename\x1b")))
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "bad\\u202ename\\x1b" in page


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    read = Reader(page)
    loaded = [value for name in ("src", "srcset", "data", "action", "poster") for value in read.values(name)]
    assert loaded == []
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in read.values("href"))
    assert {tag for tag, _ in read.elements}.isdisjoint({"link", "iframe", "object", "embed", "base"})
    assert not re.search(r"@import|url\(|https?://|//[a-z]+\.[a-z]", page)
    policy = next(a["content"] for tag, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_equal_results_in_any_order_give_equal_bytes(frame: pd.DataFrame, page: str, registry) -> None:
    shuffled = frame.sample(frac=1.0, random_state=0)
    assert make(shuffled, registry) == page


def test_without_networks_bench_or_predictions_the_page_says_less(frame: pd.DataFrame) -> None:
    page = make(frame, networks={})
    assert "Sparsity by layer" not in page
    assert "Same prediction,&nbsp;%" not in page
    assert "Accuracy over sparsity" in page
    assert "Accuracy over size" not in page


def test_versions_of_the_runs_are_behind_the_numbers(frame: pd.DataFrame) -> None:
    keys = frame["record_key"].tolist()
    page = make(frame, environments={key: {"torch": "9.9", "processor": "An <abacus>"} for key in keys})
    assert f"processor An &lt;abacus&gt;, torch 9.9 ({len(frame)} runs)" in page


def test_measured_speed_is_on_the_board(frame: pd.DataFrame) -> None:
    bench = pd.DataFrame(
        {
            "checkpoint": ["resnet50.dense"] * 2, "engine": ["torch", "sparse"], "device": "cpu",
            "images_per_second": [100.0, 250.0], "packed_bytes": [5e6, 5e6],
        }
    )  # fmt: skip
    page = make(frame, bench=bench)
    assert "Accuracy over measured speed" in page
    assert 'title="engine sparse">250<' in page


def test_failed_runs_and_missing_accuracies_are_shown(frame: pd.DataFrame) -> None:
    failed = frame.copy()
    own = (failed["checkpoint"] == "resnet50.gmp_v1_s50") & (failed["task"] == "digits") & (failed["mode"] == "full")
    failed.loc[own, ["status", "accuracy"]] = ["failed", None]
    page = make(tidy(failed))
    assert "3 failed" in page
    assert "failed failed failed" in page


def test_confused_pairs_are_counted_over_runs(frame: pd.DataFrame, registry) -> None:
    own = frame[(frame["mode"] == "linear") & (frame["task"] == "digits")]
    dense = set(own.loc[own["method"] == "dense", "record_key"])
    labels = np.repeat(np.arange(2), 10)

    def reader(keys):
        for key in sorted(set(keys) & set(own["record_key"])):
            predicted = labels.copy()
            predicted[: 1 if key in dense else 4] = 1
            yield key, Predictions(tuple(map(str, range(20))), labels, predicted)

    sources = Sources(frame, aggregate(frame, registry), registry, reader)
    from sparsebench.report.page.boards import boards_of

    sections = sections_of(sources, boards_of(sources, Palette()), Gallery(sources, 1))
    section = next(section for section in sections if section.name == "resnet50.gmp_v1_s50")
    assert [(p.task, p.true, p.predicted, p.share, p.reference) for p in section.results[0].pairs] == [
        ("digits", "0", "1", "40.0", "10.0")
    ]
    assert section.results[0].results[0].agreement == "85.0"


def test_exemplars_are_shown_once_each_with_the_names_of_classes(seen_page: str) -> None:
    read = Reader(seen_page)
    images = [a for tag, a in read.elements if tag == "image" and a.get("id", "").startswith("i-")]
    assert 0 < len(images) == len({a["href"] for a in images}) <= IMAGES
    shown = [a["href"] for tag, a in read.elements if tag == "use" and a["href"].startswith("#i-")]
    assert len(shown) > len(images)
    assert {link[1:] for link in shown} == {a["id"] for a in images}
    text = " ".join(read.text)
    for words in ("2 of 9 exemplars as images", "<cat>", "here dog & co", "digits, CC BY 4.0 <b>"):
        assert words in text


def test_images_of_other_licences_and_unknown_classes_are_not_shown(seen_page: str) -> None:
    assert 'aria-hidden="true"><use href="#i-0"/></svg><span>digits<' in seen_page
    assert "/></svg><span>glyphs<" not in seen_page
    assert re.search(r'<th scope="row">glyphs<td>0<td>1<td>', seen_page)


def test_own_heads_are_set_beside_what_was_published(seen_page: str, page: str) -> None:
    assert 'id="upstream"' not in page
    part = seen_page.partition('<section id="upstream"')[2].partition("</section>")[0]
    assert 'href="#c-resnet50.gmp_v1_s50"' in part
    assert "10,000 test images" in part
    for text in ("76.00", "75.00", "74.14 to 75.84", "−1.00", "too high", "88.0 (87.0 to 89.0)"):
        assert f">{text}<" in part
    assert "stranger<script>" not in part


def test_the_verdict_on_bundles_is_a_column_where_there_is_one(seen_page: str, page: str) -> None:
    assert 'data-sort="verdict"' not in page
    assert seen_page.count('data-sort="verdict"') == 2
    assert '<td data-v="rescored">rescored<' in seen_page
    assert "rescored: scores follow from the predictions and the known labels" in seen_page


def _ranks(parts):
    from sparsebench.analysis.ranks import RankIntervals

    count = len(parts.statistics.values)
    ones = np.ones(count, dtype=np.int64)
    return RankIntervals(ones, count * ones, np.zeros((count, count), dtype=bool), 0.05)


def _everything(count: int) -> str:
    """Return a page with class names, images, confused pairs, agreement, speeds and verdicts."""
    frame = many(count).assign(verdict="rerun")
    names = frame["checkpoint"].unique()
    bench = pd.DataFrame(
        {
            "checkpoint": names, "engine": "sparse", "device": "cpu",
            "images_per_second": 123.4 + np.arange(len(names)), "packed_bytes": 5e6,
        }
    )  # fmt: skip
    classes = ("a class of name 0", "a class of name 1")
    seen = {task: Seen(classes, lambda image: f"{PIXEL}#{image}", "CC BY 4.0") for task in TASKS}
    return make(frame, predictions=reader(frame), bench=bench, seen=seen)


@pytest.mark.slow
def test_the_page_grows_by_less_than_a_limit_per_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 checkpoints on twelve tasks in two modes, with everything that can be shown, it is under 4.5 MB."""
    monkeypatch.setattr(intervals, "rank_intervals", _ranks)
    monkeypatch.setattr(exemplars, "_MOST", 1)  # as of 200 checkpoints
    small, large = (len(_everything(count).encode()) for count in (4, 12))
    assert small + 196 * (large - small) / 8 < LIMIT


@pytest.mark.slow
def test_two_hundred_checkpoints_on_twelve_tasks_are_under_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "rank_intervals", _ranks)
    assert len(make(many(200)).encode()) < LIMIT
