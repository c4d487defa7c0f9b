"""Runs in mode upstream: beside what was published, and never among transfer results."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from sparsebench.registry import Registry
from sparsebench.report import Report, write_report
from sparsebench.report.leaderboard import leaderboard
from sparsebench.report.own_task import own_task_csv, own_task_rows, own_task_tables, read_own_tasks
from sparsebench.report.terminal import closing_rows, render_terminal
from sparsebench.schema import ResultsError, Task
from sparsebench.store import tidy

OWN = {"mode": "upstream", "probe": None, "protocol": "upstream"}


@pytest.fixture
def registry():
    task = Task(id="own", loader="wordnet", upstream=("made-up",), published_images=1000)
    return Registry(tasks={"own": task})


def run(checkpoint, top1, claimed, **changes):
    base = {
        "status": "ok", "checkpoint": checkpoint, "method": "gmp", "arch": "mini", "sparsity": 0.9,
        "distribution": "global", "reference": "mini.dense", "metric": "top1", "started": "2026-01-01", "task": "own",
        "seed": 0, "accuracy": top1, "top1": top1, "top5": 0.9, "upstream_top1": claimed, "n_test": 1000,
        "run_id": f"{checkpoint}/{top1}", "record_key": f"{checkpoint}/{top1}", **OWN,
    }  # fmt: skip
    return base | changes


def frame(*runs):
    return tidy(pd.DataFrame(runs))


def test_claimed_beside_measured(registry):
    rows = own_task_rows(
        frame(
            run("mini.b", 0.700, 0.701),
            run("mini.a", 0.700, 0.80),
            run("mini.c", 0.700, 0.60),
            run("mini.d", 0.700, None),
            run("mini.dense", 0.75, 0.75, method="dense", sparsity=0.0, reference=None),
            run("mini.few", 0.7, 0.8, n_test=50, task="own-limit50"),
        ),
        registry,
    )
    assert [(row.checkpoint, row.claim) for row in rows] == [
        ("mini.dense", "holds"), ("mini.a", "too high"), ("mini.b", "holds"), ("mini.c", "too low"),
        ("mini.d", "no claim"), ("mini.few", "other images"),
    ]  # fmt: skip
    first = rows[1]
    assert (first.claimed, first.top1, first.images, first.published) == (0.8, 0.7, 1000, 1000)
    assert first.difference == pytest.approx(-0.1)
    assert first.low < 0.7 < first.high
    table, limited = own_task_tables(rows)
    assert table.title == "Own heads on own"
    assert [field.text for field in table.rows[1]][2:5] == ["80.00", "70.00 [67.09, 72.76]", "−10.00"]
    assert "50 of the 1,000" in limited.notes[0]
    found = list(csv.DictReader(io.StringIO(own_task_csv(rows))))
    assert (found[1]["claimed"], found[1]["difference"], found[1]["claim"]) == ("0.8", "-0.1", "too high")
    assert found[4]["claimed"] == found[4]["difference"] == ""


def test_the_newest_run_counts_and_failures_do_not(registry):
    rows = own_task_rows(
        frame(
            run("mini.a", 0.6, 0.7, started="2026-01-02"),
            run("mini.a", 0.7, 0.7),
            run("mini.b", None, 0.7, status="failed", top5=None, n_test=None),
        ),
        registry,
    )
    assert [row.top1 for row in rows] == [0.6]


def test_they_are_no_transfer_results(small, tmp_path, registry):
    both = tidy(pd.concat([small, frame(run("mini.acdc_s90", 0.2, None, method="acdc"))], ignore_index=True))
    pd.testing.assert_frame_equal(leaderboard(both), leaderboard(small))
    names = {path.name for path in write_report(Report(both, registry, formats=()), tmp_path)}
    assert {"upstream.csv", "upstream.md"} <= names
    assert "upstream.csv" not in {path.name for path in write_report(Report(small, formats=()), tmp_path / "other")}


def test_the_closing_table_has_them_apart(small, registry):
    own = run("mini.acdc_s90", 0.2, 0.2)
    both = tidy(pd.concat([small, frame(own)], ignore_index=True))
    text = render_terminal(both, width=200, registry=registry)
    assert text.index("linear") < text.index("Own heads on own")
    assert "20.00 [17.64, 22.59]" in text
    alone = render_terminal(both, keys={own["record_key"]}, width=200, registry=registry)
    assert alone.startswith("Own heads on own")
    rows = closing_rows(both, keys={own["record_key"]}, registry=registry)
    assert [(row["mode"], row["top1"], row["claim"]) for row in rows] == [("upstream", 0.2, "holds")]


def test_what_was_written_beside_curated_results_is_read_again(tmp_path, registry):
    rows = own_task_rows(frame(run("mini.a", 0.6, 0.7), run("mini.b", 0.7, None)), registry)
    (tmp_path / "upstream.csv").write_text(own_task_csv(rows), encoding="utf-8")
    found, agreement = read_own_tasks(tmp_path / "runs.csv")
    assert own_task_csv(found) == own_task_csv(rows)
    assert agreement == {}
    (tmp_path / "records").mkdir()
    assert read_own_tasks(tmp_path) == ([], {})  # records have them


def test_agreement_read_again_is_that_with_the_reference_not_with_a_dense_twin():
    folder = Path(__file__).parents[2] / "results" / "mini"
    _, agreement = read_own_tasks(folder)
    rows = csv.DictReader((folder / "upstream_agreement.csv").read_text().splitlines())
    known = {row["reference"]: float(row["agreement"]) for row in rows if row["checkpoint"] == "mini.acdc_s90"}
    assert set(known) == {"mini.dense", "mini.acdc_s90_dense"}
    assert agreement["mini.acdc_s90", "tinyimagenet32"].value == known["mini.dense"]


@pytest.mark.parametrize(("old", "new"), [("0.6,", "much,"), ("checkpoint", "network"), ("too high", "<b>")])
def test_another_table_of_that_name_is_named(tmp_path, registry, old, new):
    text = own_task_csv(own_task_rows(frame(run("mini.a", 0.6, 0.7)), registry))
    assert old in text
    (tmp_path / "upstream.csv").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ResultsError, match="upstream"):
        read_own_tasks(tmp_path)
