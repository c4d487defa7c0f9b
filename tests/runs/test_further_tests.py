"""Further test sets of runs: scored with a run or afterwards, by what it trained, and kept in its record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sparsebench
from sparsebench import cli
from sparsebench.api import Request, prepare
from sparsebench.registry.selection import Selection
from sparsebench.schema import InputError, ResultsError, RunRecord, UnknownNameError
from sparsebench.store import Store
from sparsebench.store.further import further_frame
from tasks_quick import image_folder, quick_suite

SHIFT = ["fog:3", "same", "gaussian_noise:5"]
TESTS = """
tests:
  same: {root: colours, on_request: true}
  usual: {root: usual}
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = quick_suite(tmp_path_factory.mktemp("quick"))
    image_folder(root / "usual", images=4)
    with (root / "colours.yaml").open("a") as file:
        file.write(TESTS)
    return root


@pytest.fixture(scope="module")
def done(tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("done") / "runs"
    run(tasks, results, shift=SHIFT)
    return results


def run(tasks: Path, results: Path, **more: object) -> pd.DataFrame:
    options = {"suite": "quick", "tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90", "mode": "linear"} | more
    table = sparsebench.run(results=results, **options)  # type: ignore[arg-type]
    assert (table["status"] == "ok").all(), table["error"].tolist()
    return table


def records(results: Path) -> list[RunRecord]:
    return Store(results).read()


def without(results: Path, target: Path) -> Path:
    """Return a copy of results whose records have no further tests."""
    shutil.copytree(results, target)
    for path in (target / "records").rglob("*.json"):
        data = json.loads(path.read_text())
        for test in data["tests"].values():
            (target / test["predictions"]).unlink(missing_ok=True)
        path.write_text(json.dumps(data | {"tests": {}}))
    return target


def test_scores_are_in_the_record_by_name_with_predictions_of_their_own(done: Path) -> None:
    store = Store(done)
    for record in records(done):
        assert set(record.tests) == {*SHIFT, "usual"}
        for name, test in record.tests.items():
            kept = store.further_predictions(record, name)
            assert len(kept.ids) == test.n_test == {"same": 36, "usual": 12}.get(name, 9)
            assert (kept.predicted == kept.labels).mean() == test.top1
            assert test.ece is not None
            assert 0 <= test.ece <= 1
        assert (record.tests["fog:3"].corruption, record.tests["fog:3"].severity) == ("fog", 3)
        assert RunRecord.model_validate(record.model_dump(mode="json")) == record
    table = further_frame(done)
    assert len(table) == 2 * 4
    assert set(table["test"]) == {*SHIFT, "usual"}
    assert table["fingerprint"].nunique() == 4


def test_the_trained_head_scores_the_task_s_own_images_as_it_did(done: Path) -> None:
    store = Store(done)
    for record in records(done):
        clean, same = store.predictions(record), store.further_predictions(record, "same")
        at = {name: i for i, name in enumerate(same.ids)}
        assert clean.logits is not None
        assert same.logits is not None
        np.testing.assert_allclose(same.logits[[at[name] for name in clean.ids]], clean.logits, atol=2e-3)


def test_neither_ids_nor_scores_of_runs_depend_on_further_tests(tasks: Path, done: Path, tmp_path: Path) -> None:
    run(tasks, tmp_path / "plain")
    plain, shifted = records(tmp_path / "plain"), records(done)
    assert [r.record_key for r in plain] == [r.record_key for r in shifted]
    assert [r.scores for r in plain] == [r.scores for r in shifted]
    assert [r.predictions_sha256 for r in plain] == [r.predictions_sha256 for r in shifted]
    assert [set(r.tests) for r in plain] == [{"usual"}] * 2  # what a task names comes with new runs


def test_finished_runs_are_scored_afterwards_without_training_to_the_same_numbers(
    tasks: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = without(done, tmp_path / "later")
    from sparsebench.transfer import linear

    monkeypatch.setattr(linear, "LinearRuns", None)  # nothing is fitted
    run(tasks, later)
    assert [r.tests for r in records(later)] == [{}, {}]  # a finished run is done, unless something is asked for
    run(tasks, later, shift=SHIFT[:1])
    run(tasks, later, shift=[*SHIFT, "usual"])
    assert [r.tests for r in records(later)] == [r.tests for r in records(done)]
    assert [r.seconds for r in records(later)] == [r.seconds for r in records(done)]
    named = {Path(n).name for r in records(later) for n in (r.predictions, *(t.predictions for t in r.tests.values()))}
    assert {path.name for path in (later / "predictions").iterdir()} == named


def test_a_second_command_does_nothing(tasks: Path, done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.json")}
    selection = Selection(suite="quick", checkpoints=["mini.acdc_s90"], modes=["linear"], shifts=SHIFT)
    assert not prepare(Request(selection, tasks_dirs=[tasks], results=done)).todo.runs
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_changed_test_set_is_scored_anew(tasks: Path, done: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tasks"
    shutil.copytree(tasks, copy)
    later = tmp_path / "later"
    shutil.copytree(done, later)
    shutil.copy(copy / "colours" / "class0" / "0.png", copy / "usual" / "class0" / "9.png")
    run(copy, later, shift="usual")
    for new, old in zip(records(later), records(done), strict=True):
        assert new.run_id == old.run_id
        assert new.tests["usual"].n_test == 13
        assert new.tests["usual"].fingerprint != old.tests["usual"].fingerprint
        assert new.tests["fog:3"] == old.tests["fog:3"]


def test_heads_that_were_not_kept_are_trained_again(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "runs"
    run(tasks, results, save_heads=False, seed=0)
    run(tasks, results, save_heads=False, seed=0, shift="fog:3")
    (record,) = records(results)
    assert set(record.tests) == {"fog:3", "usual"}
    assert record.head_file is None


def test_classes_alone_may_be_kept_of_further_tests_too(tasks: Path, tmp_path: Path) -> None:
    run(tasks, tmp_path / "runs", predictions="classes", seed=0, shift="fog:3")
    (record,) = records(tmp_path / "runs")
    assert Store(tmp_path / "runs").further_predictions(record, "fog:3").logits is None
    assert record.tests["fog:3"].ece is not None


def test_missing_predictions_and_unknown_tests_are_named(done: Path, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    shutil.copytree(done, results)
    store, record = Store(results), records(results)[0]
    with pytest.raises(UnknownNameError, match="did you mean fog:3"):
        store.further_predictions(record, "fog:4")
    (results / (record.tests["fog:3"].predictions or "")).unlink()
    with pytest.raises(ResultsError, match=r"can't read the predictions.*run its cell again"):
        store.further_predictions(record, "fog:3")
    bare = record.model_copy(
        update={"tests": {"fog:3": record.tests["fog:3"].model_copy(update={"predictions": None})}}
    )
    with pytest.raises(ResultsError, match="kept no predictions on the test set 'fog:3'"):
        store.further_predictions(bare, "fog:3")


@pytest.mark.parametrize("probe", ["knn", "fewshot"])
def test_a_probe_without_a_head_is_refused_where_it_is_asked_for(tasks: Path, tmp_path: Path, probe: str) -> None:
    with pytest.raises(InputError, match=f"the probe {probe} keeps none"):
        run(tasks, tmp_path / "runs", probe=probe, shift="fog:3")
    table = run(tasks, tmp_path / "runs", probe=probe, seed=0)  # and passed over where a task names a test set
    assert len(table) == 1


def test_the_command_shows_errors_under_shift(tasks: Path, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "run",
        "--suite",
        "quick",
        "--tasks-dir",
        str(tasks),
        "--checkpoint",
        "mini.acdc_s90",
        "--mode",
        "linear",
    ]
    command += ["--no-reference", "--results", str(done), "--shift", "fog:3", "same"]
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert "Further test sets: linear" in shown
    assert "Weather error %" in shown
    assert "Noise error %" not in shown
    assert cli.main([*command, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    expected = 1 - np.mean([record.tests["fog:3"].top1 for record in records(done)])
    assert row["shift"]["families"] == {"weather": pytest.approx(expected, abs=1e-6)}


def test_mistakes_cost_nothing(tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--suite", "quick", "--tasks-dir", str(tasks), "--results", str(tmp_path / "runs"), "--shift"]
    assert cli.main([*command, "gausian_noise:3"]) == 2
    assert "did you mean gaussian_noise" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_two_workers_give_the_same_numbers(tasks: Path, done: Path, tmp_path: Path) -> None:
    run(tasks, tmp_path / "runs", shift=SHIFT, jobs=2)
    assert [r.tests for r in records(tmp_path / "runs")] == [r.tests for r in records(done)]


@pytest.mark.slow
def test_a_finetuned_network_is_scored_with_its_run_or_afterwards(tasks: Path, tmp_path: Path) -> None:
    at_once, later, anew = (tmp_path / name for name in ("once", "later", "anew"))
    run(tasks, at_once, mode="full", shift=SHIFT)
    run(tasks, later, mode="full", save_weights=True)
    run(tasks, later, mode="full", shift=SHIFT)
    run(tasks, anew, mode="full")
    run(tasks, anew, mode="full", shift=SHIFT)
    (one,), (two,), (three,) = map(records, (at_once, later, anew))
    assert one.tests == two.tests == three.tests
    store = Store(at_once)
    clean, same = store.predictions(one), store.further_predictions(one, "same")
    at = {name: i for i, name in enumerate(same.ids)}
    assert (same.predicted[[at[name] for name in clean.ids]] == clean.predicted).all()


def test_an_older_list_of_further_tests_is_read_by_name() -> None:
    from sparsebench.schema.further import by_name

    assert by_name([]) == {}
    assert set(by_name([{"name": "a"}, {"name": "b"}])) == {"a", "b"}
