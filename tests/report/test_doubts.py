"""What is doubtful about published results is said beside their numbers."""

from pathlib import Path

import pytest

from sparsebench.cli import main
from sparsebench.registry import load_registry
from sparsebench.report.compare import compare
from sparsebench.report.comparison import render_comparison
from sparsebench.report.doubts import Doubts, read_doubts
from sparsebench.schema import ResultsError
from sparsebench.store import read_results, write_curated

RESNET = {"arch": "resnet50", "suite": "cvpr22", "reference": "resnet50.acdc_dense"}
FULL = {"mode": "full", "probe": None, "protocol": "cvpr22-full"}
CELLS = {"cars": [0.5, 0.51]}


@pytest.fixture(scope="module")
def published():
    """The cells that these tests compare with."""
    table = read_results("published")
    return table[table["task"].isin(list(CELLS)) & table["arch"].eq("resnet50")]


def note(frame, published):
    (row,) = compare(frame, published, read_doubts("published")).to_dict("records")
    return row["published_checkpoint"], row["note"]


@pytest.mark.parametrize("mode", ["linear", "full"])
def test_the_papers_str_networks_are_not_those_registered_under_that_name(rows, table, published, mode):
    fields = {"distribution": "learned"} | (FULL if mode == "full" else {})
    name, text = note(table(rows("resnet50.str_s80", "str", CELLS, sparsity=0.8, **RESNET | fields)), published)
    assert name == "resnet50.str_s80"
    assert "without label smoothing" in text
    assert "probably resnet50.str_nols_s80's" in text
    assert ("drawn kaiming-normal" in text) == (mode == "full")
    assert ("a file without masks" in text) == (mode == "full")


def test_the_network_that_the_numbers_are_probably_of_is_compared_with_them(rows, table, published):
    for name, method, other in (
        ("resnet50.str_nols_s80", "str", "resnet50.str_s80"),
        ("resnet50.rigl_erk_5x_nols_s80", "rigl", "resnet50.rigl_erk_5x_s80"),
    ):
        frame = table(rows(name, method, CELLS, sparsity=0.8, variant="x", **RESNET))
        found, text = note(frame, published)
        assert found == other
        assert "another checkpoint" not in text


def test_what_is_not_doubtful_has_no_note(rows, table, published):
    frame = table(rows("resnet50.acdc_s80", "acdc", CELLS, sparsity=0.8, **RESNET))
    assert note(frame, published) == ("resnet50.acdc_s80", "")


@pytest.mark.usefixtures("without_figures")
def test_the_command_shows_them(rows, table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    frame = table(rows("resnet50.str_s80", "str", CELLS, sparsity=0.8, **RESNET | {"distribution": "learned"}))
    write_curated(frame, tmp_path / "mine.csv")
    assert main(["report", "--results", "mine.csv", "--compare", "published"]) == 0
    assert "without label smoothing" in " ".join(capsys.readouterr().out.split())


def test_doubts_are_about_what_is_there():
    published = read_results("published")
    doubts = read_doubts("published")
    names = set(published["checkpoint"])
    assert {name for name, _ in doubts.texts} | set(doubts.probably) <= names
    registered = load_registry().checkpoints
    for name in doubts.probably.values():
        assert registered[name].upstream.label_smoothing == 0


def test_others_have_doubts_beside_their_results(rows, table, tmp_path):
    assert read_doubts(tmp_path) == Doubts()
    frame = table(rows("a.b", "acdc", CELLS))
    write_curated(frame, tmp_path / "runs.csv")
    (tmp_path / "doubts.csv").write_text("checkpoint,mode,probably,doubt\na.b,linear,,measured twice\na.b,full,,x\n")
    for path in (tmp_path, tmp_path / "runs.csv", str(tmp_path)):
        found = compare(frame, read_results(path), read_doubts(path))
        assert set(found["note"]) == {"measured twice"}
        assert "measured twice" in render_comparison(found)
    (tmp_path / "doubts.csv").write_text("checkpoint,doubt\na.b,x\n")
    with pytest.raises(ResultsError, match=r"doubts\.csv is not a table of doubts"):
        read_doubts(Path(tmp_path))


def test_str_has_no_upstream_accuracy_that_is_not_its_own():
    published = read_results("published")
    assert published.loc[published["method"] == "str", "upstream_top1"].isna().all()
    known = published.loc[published["upstream_top1"].notna(), "method"]
    assert set(known) == {"dense", "acdc", "rigl", "mfac"}
