"""Results beside published ones: what is matched, what is not, and the rule for the verdict."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sparsebench.analysis.metrics import Sample
from sparsebench.cli import main
from sparsebench.report.compare import COLUMNS, compare, difference_interval, verdict
from sparsebench.report.comparison import comparison_csv, comparison_tables, outcome, render_comparison
from sparsebench.report.tables import latex, markdown
from sparsebench.store import tidy, write_curated

FULL = {"mode": "full", "probe": None, "protocol": "cvpr22-full"}
RESNET = {"arch": "resnet50", "reference": "resnet50.acdc_dense"}
CELLS = {"pets": [0.90, 0.91, 0.92], "cars": [0.55, 0.56, 0.57]}


@pytest.fixture
def published(rows, table):
    return table(
        rows("resnet50.acdc_s90", "acdc", CELLS, **RESNET),
        rows("resnet50.acdc_s80", "acdc", CELLS, sparsity=0.8, **RESNET),
        rows("resnet50.rigl_erk_5x_s90", "rigl", CELLS, variant="erk_5x", **RESNET | {"distribution": "erk"}),
        rows("resnet50.acdc_s90", "acdc", {"pets": [0.95]}, **RESNET | FULL),
        rows("resnet50.acdc_dense", "dense", CELLS, upstream_top1=0.768, **RESNET | {"reference": None}),
    )


def one(frame, published, task="pets"):
    (found,) = compare(frame, published).query("task == @task").to_dict("records")
    return found


def test_a_cell_beside_its_published_one(rows, table, published):
    mine = {"pets": [0.94, 0.95, 0.96], "cars": [0.55, 0.57, 0.56]}
    frame = table(rows("resnet50.acdc_s90", "acdc", mine, **RESNET))
    got = one(frame, published)
    assert (got["ours"], got["published"]) == (pytest.approx(0.95), pytest.approx(0.91))
    assert (got["ours_n"], got["published_n"], got["published_checkpoint"]) == (3, 3, "resnet50.acdc_s90")
    assert got["difference"] == pytest.approx(0.04)
    assert (got["verdict"], got["note"]) == ("above", "")
    assert one(frame, published, "cars")["verdict"] == "within"


def test_another_id_is_matched_by_what_it_is(rows, table, published):
    got = one(table(rows("mine", "acdc", {"pets": [0.8, 0.801]}, **RESNET)), published)
    assert (got["published_checkpoint"], got["verdict"]) == ("resnet50.acdc_s90", "below")
    assert got["note"] == "another checkpoint than the published resnet50.acdc_s90"


def test_the_same_id_is_matched_whatever_else_it_is_called(rows, table, published):
    frame = table(rows("resnet50.acdc_s90", "acdc", {"pets": [0.9, 0.9]}, **RESNET | {"arch": "resnet50_tv"}))
    got = one(frame, published)
    assert got["published_checkpoint"] == "resnet50.acdc_s90"
    assert got["note"] == "arch resnet50_tv here, resnet50 published"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"arch": "mini"}, "architecture mini is not published (published: resnet50)"),
        ({"method": "gmp"}, "method gmp is not published (published: dense, acdc, rigl)"),
        ({"sparsity": 0.98}, "sparsity 98 % is not published (published: 80 %, 90 %)"),
        ({"nm": "2:4", "distribution": "nm"}, "N:M pattern 2:4 is not published (published: none)"),
        ({"variant": "2x"}, "variant 2x is not published (published: none)"),
        ({"distribution": "uniform"}, "distribution uniform is not published (published: global)"),
        ({"method": "dense", "sparsity": 0.0, "twin_of": "x"}, "dense twins are not published"),
        ({"task": "food101"}, "task food101 is not published for it"),
        (FULL | {"sparsity": 0.8}, "sparsity 80 % is not published (published: 90 %)"),
    ],
)
def test_what_has_no_published_cell_says_why(rows, table, published, changes, reason):
    frame = table([row | changes for row in rows("mine", "acdc", {"pets": [0.9, 0.9]}, **RESNET)])
    (got,) = compare(frame, published).to_dict("records")
    assert (got["verdict"], got["note"]) == ("not published", reason)
    assert math.isnan(got["published"] or math.nan)


def test_an_unknown_distribution_is_no_obstacle(rows, table, published):
    frame = table(rows("mine", "rigl", {"pets": [0.9]}, variant="erk_5x", **RESNET | {"distribution": None}))
    assert one(frame, published)["published_checkpoint"] == "resnet50.rigl_erk_5x_s90"


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"protocol": "mine"}, "protocol mine here, cvpr22-linear published"),
        ({"probe": "ridge"}, "probe ridge here, sgd published"),
        ({"metric": "mean_per_class"}, "metric mean_per_class here, top1 published"),
        ({"n_test": 10}, "10 test images of pets here, 3669 published: not the same data"),
    ],
)
def test_what_is_unlike_is_said(rows, table, published, changes, note):
    frame = table(rows("resnet50.acdc_s90", "acdc", {"pets": [0.9, 0.9]}, **RESNET | changes))
    got = one(frame, published.assign(n_test=3669))
    assert got["published_checkpoint"] == "resnet50.acdc_s90"
    assert got["note"] == note
    assert note in markdown(comparison_tables(compare(frame, published.assign(n_test=3669)))).replace("\\", "")


def test_another_dense_model_is_said_to_be_one(rows, table, published):
    frame = table(rows("resnet50.tv", "dense", {"pets": [0.9]}, upstream_top1=0.7613, **RESNET))
    assert "upstream top-1 76.13 here, 76.80 published" in one(frame, published)["note"]


samples = st.builds(Sample, st.floats(0, 1), st.floats(1e-6, 0.1), st.integers(2, 9))


@given(samples, samples)
def test_the_interval_is_welchs(a, b):
    got = difference_interval(a, b)
    assert got == difference_interval(b, a)
    expected = stats.ttest_ind_from_stats(a.mean, a.sd, a.n, b.mean, b.sd, b.n, equal_var=False)
    if abs(abs(a.mean - b.mean) - got) > 1e-9:
        assert (abs(a.mean - b.mean) < got) == (expected.pvalue > 0.05)


def test_one_seed_borrows_the_spread_of_the_other_side_and_two_have_none():
    many, single = Sample(0.5, 0.01, 4), Sample(0.6, math.nan, 1)
    expected = stats.t.ppf(0.975, 3) * 0.01 * math.sqrt(1 + 1 / 4)
    assert difference_interval(many, single) == pytest.approx(expected)
    assert difference_interval(single, many) == pytest.approx(expected)
    assert math.isnan(difference_interval(single, single))
    assert difference_interval(Sample(0.5, 0.0, 3), Sample(0.5, 0.0, 3)) == 0.0


def test_verdicts():
    assert verdict(0.01, math.nan) == "unknown"
    assert verdict(0.01, 0.02) == verdict(-0.02, 0.02) == "within"
    assert verdict(0.03, 0.02) == "above"
    assert verdict(-0.03, 0.02) == "below"
    assert verdict(4e-5, 0.0) == "within", "published values are rounded"


def test_everything_agrees_with_itself(published):
    got = compare(published, published)
    assert len(got) == 9
    assert set(got["verdict"]) == {"within", "unknown"}
    assert (got["difference"] == 0).all()
    assert outcome(got) == "9 cells compared: 8 within, 1 with one seed on both sides"


def test_written_out(rows, table, published, tmp_path):
    frame = table(
        rows("resnet50.acdc_s90", "acdc", CELLS, **RESNET | {"protocol": "mine"}),
        rows("mine_x", "gmp", CELLS, **RESNET),
    )
    got = compare(frame, published)
    text = markdown(comparison_tables(got))
    assert "| **resnet50.acdc\\_s90 [1]** |  |  |  |  |  |" in text
    assert "| pets | 91.00 ± 1.00 | 91.00 ± 1.00 | 0.00 ± 2.27 | within | 3/3 |" in text
    assert "| mean of 2 tasks | 73.50 | 73.50 | 0.00 |  |  |" in text
    assert "| mine\\_x | linear | cars pets | method gmp is not published" in text
    assert latex(comparison_tables(got)).isascii()
    (tmp_path / "x.csv").write_text(comparison_csv(got))
    assert tuple(pd.read_csv(tmp_path / "x.csv").columns) == COLUMNS
    shown = render_comparison(got, width=100)
    assert shown.endswith("2 cells compared: 2 within, 2 without a published value\n")
    assert max(len(row) for row in shown.splitlines() if "±" in row and "Accuracy" not in row) <= 100


def test_nothing_in_common(rows, table, published):
    got = compare(table(rows("mini.dense", "dense", CELLS)), published)
    assert outcome(got) == "no cell compared: 2 without a published value"
    empty = compare(table(rows("x", "acdc", CELLS)).iloc[:0], published)
    assert tuple(empty.columns) == COLUMNS
    assert outcome(empty) == "no cell compared: there is no result"
    assert comparison_tables(empty) == []


@pytest.mark.usefixtures("without_figures")
def test_the_command(rows, table, published, tmp_path, capsys):
    write_curated(published, tmp_path / "published.csv")
    write_curated(tidy(published.iloc[:4]), tmp_path / "mine.csv")
    arguments = ["report", "--results", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--compare", str(tmp_path / "none.csv")]) == 2
    assert not (tmp_path / "out").exists()
    capsys.readouterr()
    assert main([*arguments, "--compare", str(tmp_path / "published.csv")]) == 0
    assert "cells compared" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").glob("comparison.*")} == {
        "comparison.csv",
        "comparison.md",
        "comparison.tex",
    }
