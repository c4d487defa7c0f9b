"""The paper's results: the table follows from the raw numbers, and the paper's statistics follow from the table."""

import csv
import importlib
from collections import Counter
from pathlib import Path

import pytest

import sparsebench
from sparsebench.cli import main
from sparsebench.registry.names import method_and_variant
from sparsebench.report.aggregate import aggregate
from sparsebench.report.figures.series import build_series
from sparsebench.report.leaderboard import leaderboard_of
from sparsebench.report.tables import markdown
from sparsebench.report.write import all_tables
from sparsebench.schema import ResultsError
from sparsebench.store import read_results, tidy, write_curated

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "published"
PER_CLASS = ["aircraft", "caltech101", "caltech256", "flowers102", "pets"]


def read(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def runs():
    return read_results("published")


@pytest.fixture(scope="module")
def statistics(runs):
    return aggregate(runs)


def line(statistics, checkpoint, mode):
    (found,) = [one for one in statistics.lines if (one["checkpoint"], one["mode"]) == (checkpoint, mode)]
    return found


def test_the_table_is_what_the_raw_numbers_give(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = importlib.import_module("published")
    assert script.derive(PUBLISHED / "raw") == (PUBLISHED / "runs.csv").read_text()
    assert script.main(["--check"]) == 0
    (tmp_path / "other.csv").write_text("")
    assert script.main(["--check", "--out", str(tmp_path / "other.csv")]) == 1
    assert "not what" in capsys.readouterr().out


def test_no_number_is_lost_doubled_or_rounded():
    raw, table = read(PUBLISHED / "raw" / "results.csv"), read(PUBLISHED / "runs.csv")
    assert len(raw) == len(table) == 2655

    def key(row):
        return row["source_file"], int(row["source_line"]), float(row["accuracy"]), int(row["seed"]), row["mode"]

    assert Counter(map(key, raw)) == Counter(map(key, table))
    assert max(Counter(map(key, table)).values()) == 1


def test_what_it_holds(runs):
    assert (runs["status"] == "ok").all()
    assert len(runs["task"].unique()) == 12
    assert sorted(runs.loc[runs["metric"] == "mean_per_class", "task"].unique()) == PER_CLASS
    counts = runs.groupby(["arch", "mode", "checkpoint", "task"]).size()
    assert set(counts["resnet50", "linear"]) == set(counts["mobilenet_v1", "linear"]) == {5}
    assert set(counts["mobilenet_v1", "full"]) == {1}
    full = counts["resnet50", "full"]
    assert full[full != 3].to_dict() == {
        ("resnet50.acdc_s80", "food101"): 4,
        ("resnet50.acdc_s80", "pets"): 4,
        ("resnet50.lth_s80", "cifar10"): 4,
    }


def test_two_models_under_one_name_stay_two(runs, statistics):
    both = [line(statistics, f"mobilenet_v1.str_repeat_{n}_s75", "full") for n in (1, 2)]
    assert [100 * one["mean_accuracy"] for one in both] == pytest.approx([77.57, 78.00], abs=0.005)
    assert [one["variant"] for one in both] == ["repeat_1", "repeat_2"]
    assert runs[(runs["checkpoint"] == "mobilenet_v1.str_s75")]["mode"].unique().tolist() == ["linear"]
    labels = [series.label for series in build_series(statistics)]
    assert {"STR", "STR repeat 1", "STR repeat 2", "RigL ERK 1x", "RigL ERK 5x"} <= set(labels)
    assert len(labels) == len(set(labels))


def test_dense(statistics):
    dense = line(statistics, "resnet50.acdc_dense", "full")
    assert round(100 * dense["mean_accuracy"], 2) == 85.46
    cell = statistics.cells.query("checkpoint == 'resnet50.acdc_dense' and mode == 'full' and task == 'aircraft'").iloc[
        0
    ]
    assert (round(100 * cell["mean"], 2), round(100 * cell["sd"], 2), cell["n"]) == (83.62, 0.36, 3)
    assert (dense["relative_error"], dense["reference"], dense["upstream_top1"]) == (0.0, "", 0.768)


def test_acdc_linear_beats_dense(statistics):
    best = line(statistics, "resnet50.acdc_s80", "linear")
    assert round(100 * best["mean_accuracy"], 2) == 75.53
    assert round(100 * best["relative_error"], 2) == -3.19
    assert (best["tasks_better"], best["relative_error_tasks"]) == (9, 12)
    assert best["average_rank"] == 3.0
    assert (best["rank_low"], best["rank_high"], best["ranked"]) == (1, 1, 20)
    assert round(line(statistics, "resnet50.str_s80", "linear")["average_rank"], 2) == 4.58


def test_woodfisher_full_is_close_to_dense(statistics):
    best = line(statistics, "resnet50.woodfisher_s80", "full")
    assert 100 * best["mean_accuracy"] == pytest.approx(85.235, abs=0.001)
    assert round(100 * best["relative_error"], 2) == 0.66
    assert (best["tasks_better"], round(best["average_rank"], 2)) == (6, 2.33)


@pytest.mark.parametrize(
    "row", read(Path(__file__).with_name("published_summary.csv")), ids=lambda r: "-".join(r.values())
)
def test_an_independent_computation_agrees(statistics, row):
    name, _, repeat = row["method"].partition(" (row ")
    method, variant = method_and_variant(name)
    variant = {"": variant, "a)": "repeat_1", "b)": "repeat_2"}[repeat]
    (found,) = [
        one
        for one in statistics.lines
        if (one["arch"], one["mode"], one["method"], one["variant"]) == (row["arch"], row["mode"], method, variant)
        and one["sparsity"] == float(row["sparsity"])
    ]
    assert 100 * found["mean_accuracy"] == pytest.approx(float(row["mean_acc"]), abs=0.0051)
    assert 100 * found["relative_error"] == pytest.approx(float(row["mean_rel_err_increase_pct"]), abs=0.0051)
    assert (found["n_tasks"], found["tasks_better"]) == (12, int(row["datasets_better_than_dense"]))
    # there, ties between means that are equal but for their last bits are broken; here they share their rank
    assert found["average_rank"] == pytest.approx(float(row["avg_rank"]), abs=0.05)


def test_architectures_are_never_mixed(statistics):
    assert len(statistics.summary) == 61
    for group, part in statistics.groups():
        assert {one["checkpoint"].partition(".")[0] for one in part.lines} == {group["arch"]}
        ranks = sorted(one["average_rank"] for one in part.lines)
        size = {("resnet50", "linear"): 20, ("resnet50", "full"): 20, ("mobilenet_v1", "linear"): 10}
        assert len(ranks) == size.get((group["arch"], group["mode"]), 11)
        assert sum(ranks) == pytest.approx(len(ranks) * (len(ranks) + 1) / 2)
        assert {one["reference"] for one in part.lines} - {""} == {
            "resnet50.acdc_dense" if group["arch"] == "resnet50" else "mobilenet_v1.dense"
        }
    assert set(leaderboard_of(statistics)["arch"]) == {"resnet50", "mobilenet_v1"}


def test_the_committed_tables_follow(statistics):
    assert (PUBLISHED / "tables.md").read_text() == markdown(all_tables(statistics))


def test_the_word_stands_for_the_file_and_a_path_for_a_folder(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResultsError, match="no results at"):
        read_results(Path("published"))
    write_curated(runs.iloc[:3], tmp_path / "published" / "runs.csv")
    assert len(read_results(Path("published"))) == len(read_results("./published")) == 3
    assert len(read_results("published")) == len(sparsebench.results("published")) == 2655


@pytest.mark.usefixtures("without_figures")
def test_the_command_reports_them(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--results", "published", "--out", "out"]) == 0
    assert [Path(name).name for name in capsys.readouterr().out.split()] == [
        "runs.csv",
        "leaderboard.csv",
        "methods.csv",
        "tables.md",
        "tables.tex",
        "win_rates.csv",
        "win_rates.md",
    ]
    assert len(read_results(tmp_path / "out" / "runs.csv")) == len(tidy(runs))
    rows = read(tmp_path / "out" / "methods.csv")
    assert len(rows) == 61
    (best,) = [r for r in rows if (r["checkpoint"], r["mode"]) == ("resnet50.acdc_s80", "linear")]
    assert (best["mean_accuracy"][:6], best["tasks_better"], best["average_rank"]) == ("0.7553", "9", "3.0")
