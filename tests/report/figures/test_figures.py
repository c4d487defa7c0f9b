"""Figures: what is drawn where, and that drawing changes nothing but the file."""

import math
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

import sparsebench
from sparsebench.report import Report, aggregate, write_report
from sparsebench.report.figures.over_sparsity import accuracy_figure, figures, relative_error_figure
from sparsebench.report.figures.series import Axis, build_series
from sparsebench.report.figures.upstream import correlation_interval
from sparsebench.report.style import method_colour, percent, signed_percent
from sparsebench.schema import ResultsError, RunError
from sparsebench.store import read_results

FILES = ("png", "pdf", "txt", "tex")


def test_percent():
    assert percent(0.85456) == "85.46"
    assert percent(-0.00001) == "0.00"
    assert signed_percent(-0.0319) == "−3.2"
    assert signed_percent(0.0319) == "+3.2"
    assert signed_percent(-0.0001) == "0.0"


def test_a_method_has_one_colour():
    methods = ["dense", "magnitude", "gmp", "acdc", "rigl", "str", "lth", "woodfisher", "mfac", "cram"]
    assert len({method_colour(m) for m in methods}) == 10
    assert method_colour("my own") == method_colour("my own")


def test_axis_counts_halvings_of_the_density():
    axis = Axis.of([0.95, 0.9, 0.0, 0.5, 0.9])
    assert axis.levels == (0.0, 0.5, 0.9, 0.95)
    assert axis.at(0.95) - axis.at(0.9) == pytest.approx(1.0)
    assert axis.at(0.5) - axis.at(0.0) == pytest.approx(1.0)
    assert axis.labels(0.1) == {axis.at(s): t for s, t in ((0.0, "0"), (0.5, "50"), (0.9, "90"), (0.95, "95"))}
    assert list(Axis.of([0.89, 0.9]).labels(0.5).values()) == ["90"]
    assert math.isfinite(Axis.of([]).room)


def test_series_are_methods_twins_and_patterns(rows, table):
    cells = {"a": [0.5, 0.6]}
    frame = table(
        rows("mini.dense", "dense", cells),
        rows("mini.acdc_s90", "acdc", cells),
        rows("mini.acdc_s95", "acdc", cells, sparsity=0.95),
        rows("mini.acdc_twin", "dense", cells, twin_of="mini.acdc_s90"),
        rows("mini.acdc_2to4", "acdc", cells, sparsity=0.5, nm="2:4", distribution="nm"),
        rows("mini.rigl_1x", "rigl", cells, variant="erk_1x"),
        rows("mini.rigl_5x", "rigl", cells, variant="erk_5x"),
    )
    series = build_series(aggregate(frame))
    assert [s.label for s in series] == ["AC/DC", "RigL ERK 1x", "RigL ERK 5x", "AC/DC 2:4", "AC/DC, dense twin"]
    by_label = {s.label: s for s in series}
    assert [line["checkpoint"] for line in by_label["AC/DC"].lines] == ["mini.acdc_s90", "mini.acdc_s95"]
    assert len({by_label[n].colour for n in ("AC/DC", "AC/DC 2:4", "AC/DC, dense twin")}) == 1
    assert by_label["RigL ERK 1x"].stroke != by_label["RigL ERK 5x"].stroke
    assert by_label["RigL ERK 1x"].fill != by_label["RigL ERK 5x"].fill
    assert by_label["RigL ERK 1x"].colour == by_label["RigL ERK 5x"].colour


def test_two_checkpoints_at_one_place_are_two_series(rows, table):
    cells = {"a": [0.5, 0.6]}
    frame = table(rows("one", "mine", cells), rows("two", "mine", cells), rows("mini.dense", "dense", cells))
    assert [s.label for s in build_series(aggregate(frame))] == ["one", "two"]
    frame = table(rows("one", "mine", cells), rows("two", "mine", cells, distribution="erk"))
    assert [s.label for s in build_series(aggregate(frame))] == ["mine erk", "mine global"]


def test_drawing_is_repeatable_and_leaves_no_state(small):
    before = dict(mpl.rcParams)
    statistics = aggregate(small)
    first, second = (relative_error_figure(statistics) for _ in range(2))
    assert (first.png, first.pdf) == (second.png, second.pdf)
    assert dict(mpl.rcParams) == before
    assert first.png.startswith(b"\x89PNG")
    assert b"CreationDate" not in first.pdf
    assert b"/FontFile2" in first.pdf
    assert b"/Type3" not in first.pdf


def test_nothing_to_draw(rows, table):
    only_dense = aggregate(table(rows("mini.dense", "dense", {"a": [0.5, 0.6]})))
    assert relative_error_figure(only_dense) is None
    assert accuracy_figure(only_dense) is None
    no_reference = aggregate(table(rows("mini.acdc_s90", "acdc", {"a": [0.5, 0.6]})))
    assert relative_error_figure(no_reference) is None
    assert figures(table(rows("mini.dense", "dense", {"a": [None]}))) == []


@pytest.mark.filterwarnings("error")
def test_write_report(small, tmp_path):
    linear = small[small["mode"] == "linear"]
    written = write_report(Report(linear), tmp_path / "report")
    names = [path.name for path in written]
    assert names == [
        "runs.csv",
        "leaderboard.csv",
        "methods.csv",
        "tables.md",
        "tables.tex",
        "win_rates.csv",
        "win_rates.md",
        "relative_error.png",
        "relative_error.pdf",
        "relative_error.txt",
        "relative_error.tex",
        "accuracy-linear.png",
        "accuracy-linear.pdf",
        "accuracy-linear.txt",
        "accuracy-linear.tex",
        *(f"{figure}-linear.{kind}" for figure in ("critical_difference", "win_rates") for kind in FILES),
    ]
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == sorted(names)
    assert len(read_results(tmp_path / "report")) == len(linear)


def test_a_part_that_fails_costs_no_other(small, tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("no ink")

    monkeypatch.setattr("sparsebench.report.write.figures_of", broken)
    with pytest.raises(RunError, match=r"lacks the figures \(no ink\).*tables\.tex"):
        write_report(Report(small), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        "runs.csv",
        "leaderboard.csv",
        "methods.csv",
        "tables.md",
        "tables.tex",
        "win_rates.csv",
        "win_rates.md",
    }


def test_a_report_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="can't write"):
        write_report(Report(small), tmp_path / "file" / "report")


def test_reports_need_no_torch():
    program = "import sys, sparsebench.report, sparsebench.report.figures.over_sparsity; print('torch' in sys.modules)"
    root = str(Path(sparsebench.__file__).parents[1])
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}); {program}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_a_caption_lies_beside_its_figure_with_a_label(small, tmp_path):
    write_report(Report(small[small["mode"] == "linear"], width=5.0, formats=["svg"]), tmp_path)
    assert not list(tmp_path.glob("*.png"))
    drawn = (tmp_path / "relative_error.svg").read_text()
    caption = (tmp_path / "relative_error.txt").read_text()
    assert "95 % intervals over seeds" in caption
    assert "intervals" not in drawn
    assert 'width="360pt"' in drawn
    text = (tmp_path / "relative_error.tex").read_text()
    assert r"\includegraphics{relative_error}" in text
    assert r"\label{fig:relative-error}" in text
    assert r"95 \% intervals" in text
    assert r"\label{tab:" in (tmp_path / "tables.tex").read_text()


def test_the_interval_of_a_rank_correlation():
    # Bonett and Wright (2000): tanh(artanh 0.5 -+ 1.96 sqrt(1.125 / 28))
    assert correlation_interval(0.5, 31) == pytest.approx((0.1552, 0.7362), abs=1e-4)
    assert correlation_interval(-0.5, 31) == pytest.approx((-0.7362, -0.1552), abs=1e-4)
    assert all(math.isnan(end) for of in ((0.2, 3), (1.0, 31), (-1.0, 5)) for end in correlation_interval(*of))
