"""What a run is: pairs of requests that differ in one thing, and whether they are the same run and the same record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sparsebench
from sparsebench.api import Request, execute, prepare
from sparsebench.cli import main
from sparsebench.registry.selection import Selection
from sparsebench.schema import Numerics, RunSpec
from sparsebench.store import Store, read_results
from tasks_quick import PROTOCOLS, SUITES, TASK, image_folder, quick_suite

SAME, NEW_RECORD, NEW_RUN = "same", "another record of the run", "another run"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``quick``, and ``again``: the same tasks under another suite's name, and a protocol with a grid."""
    folder = quick_suite(tmp_path_factory.mktemp("quick"))
    grid = "{lr: [0.01, 0.02], weight_decay: [0.0]}"
    (folder / "protocols.yaml").write_text(
        PROTOCOLS
        + f"tuned-linear-quick: {{mode: linear, probe: sgd, lr: 0.01, epochs: 4, grid: {grid}}}\n"
        + "scored-full: {mode: full, lr: 0.01, epochs: 2, batch_size: 16, eval_test: each_epoch}\n"
    )
    again = SUITES.replace("quick:", "again:", 1)
    tuned = again.replace("again:", "tuned:", 1).replace("quick-linear", "tuned-linear-quick")
    tuned = tuned.replace("quick-full", "scored-full")
    (folder / "suites.yaml").write_text(SUITES + again + tuned)
    return folder


def spec(tasks: Path, mode: str = "linear", numerics: dict[str, Any] | None = None, **selection: Any) -> RunSpec:
    chosen = {"suite": "quick", "checkpoints": ["mini.acdc_s90"], "seeds": [0], "modes": [mode]} | selection
    request = Request(
        Selection(**chosen), tasks_dirs=[tasks], results=tasks / "none", numerics=Numerics(**(numerics or {}))
    )
    (run,) = prepare(request, dry_run=True).plan.runs
    return run


def relation(one: RunSpec, other: RunSpec) -> str:
    if one.run_id != other.run_id:
        assert one.record_key != other.record_key
        return NEW_RUN
    return SAME if one.record_key == other.record_key else NEW_RECORD


FULL: dict[str, Any] = {"mode": "full"}
TWO: dict[str, Any] = FULL | {"numerics": {"processes": 2}}
THREE: dict[str, Any] = FULL | {"numerics": {"processes": 3}}
PAIRS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("suite", {}, {"suite": "again"}, SAME),
    ("seed", {}, {"seeds": [1]}, NEW_RUN),
    ("probe", {}, {"probes": ["lbfgs"]}, NEW_RUN),
    ("checkpoint", {}, {"checkpoints": ["mini.dense"]}, NEW_RUN),
    ("mode", {}, FULL, NEW_RUN),
    ("threads", {}, {"numerics": {"threads": 2}}, NEW_RECORD),
    ("engine", {}, {"numerics": {"engine": "sparse"}}, NEW_RECORD),
    ("engine that trains", FULL, FULL | {"numerics": {"engine": "sparse"}}, NEW_RECORD),
    ("engine that doesn't", FULL, FULL | {"numerics": {"engine": "onnxruntime"}}, SAME),
    ("decoder", {}, {"numerics": {"decoder": "pillow"}}, NEW_RECORD),
    ("precision", FULL, FULL | {"numerics": {"precision": "bf16"}}, NEW_RECORD),
    ("compile", FULL, FULL | {"numerics": {"compile": True}}, NEW_RECORD),
    ("processes", FULL, TWO, NEW_RECORD),
    ("processes, of any engine", TWO, FULL | {"numerics": {"processes": 2, "engine": "auto"}}, SAME),
    ("local batch norm", TWO, TWO | {"settings": {"parallel.batch_norm": "local"}}, NEW_RUN),
    ("gradients in 8 bits", TWO, TWO | {"settings": {"parallel.exchange": "int8"}}, NEW_RUN),
    ("go on without one", TWO, TWO | {"settings": {"parallel.when_killed": "continue"}}, NEW_RUN),
    ("what several processes do anyway", TWO, TWO | {"settings": {"parallel.exchange": "exact"}}, SAME),
    (
        "their number, where it matters",
        TWO | {"settings": {"parallel.batch_norm": "local"}},
        THREE | {"settings": {"parallel.batch_norm": "local"}},
        NEW_RUN,
    ),
    ("microbatch", FULL, FULL | {"microbatch": 8}, NEW_RUN),
    ("a microbatch that is the batch", FULL, FULL | {"microbatch": 16}, SAME),
    ("a microbatch in linear mode", {}, {"microbatch": 8}, SAME),
]


@pytest.mark.parametrize(("one", "other", "expected"), [p[1:] for p in PAIRS], ids=[p[0] for p in PAIRS])
def test_ids_and_keys_differ_exactly_when_they_should(
    tasks: Path, one: dict[str, Any], other: dict[str, Any], expected: str
) -> None:
    assert relation(spec(tasks, **one), spec(tasks, **other)) == expected


@pytest.mark.parametrize(
    ("suite", "mode", "expected"),
    [
        ("quick", "linear", SAME),  # nothing is chosen: the metric is what the table shows
        ("quick", "full", SAME),
        ("tuned", "linear", NEW_RUN),  # it chooses the hyperparameters
        ("tuned", "full", NEW_RUN),  # it chooses the best epoch
    ],
)
def test_a_metric_is_in_the_id_where_something_is_selected_by_it(
    tasks: Path, tmp_path: Path, suite: str, mode: str, expected: str
) -> None:
    other = shutil.copytree(tasks, tmp_path / "tasks")
    (other / "colours.yaml").write_text(TASK + "metric: mean_per_class\n")
    assert relation(spec(tasks, mode, suite=suite), spec(other, mode, suite=suite)) == expected


def test_one_of_several_equal_gpus_is_as_good_as_another() -> None:
    assert Numerics(device="cuda:1").key == Numerics(device="cuda").key != Numerics().key


def test_records_of_other_numerics_stand_beside_each_other_and_auto_takes_any(tasks: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"suite": "quick", "tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90", "mode": "linear"}
    one = sparsebench.run(results=tmp_path / "runs", **common)
    two = sparsebench.run(results=tmp_path / "runs", decoder="pillow", **common)
    assert one["run_id"].tolist() == two["run_id"].tolist()
    assert not set(one["record_key"]) & set(two["record_key"])
    assert len(read_results(tmp_path / "runs")) == 4
    request = Request(
        Selection(suite="quick", checkpoints=["mini.acdc_s90"], modes=["linear"]),
        tasks_dirs=[tasks],
        results=tmp_path / "runs",
        numerics=Numerics(engine="auto"),
    )
    assert prepare(request).todo.runs == []


def test_what_was_run_under_another_suite_is_in_both_reports(tasks: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90", "probe": "ridge"}
    results = tmp_path / "runs"
    first = sparsebench.run(results=results, suite="quick", **common)
    again = sparsebench.run(results=results, suite="again", **common)
    pd.testing.assert_frame_equal(first, again)
    assert len(read_results(results)) == 1


def test_labels_are_those_of_the_newest_request(tasks: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tasks, tmp_path / "tasks")
    (other / "colours.yaml").write_text(TASK + "metric: mean_per_class\n")
    for folder in (tasks, other):
        selection = Selection(suite="quick", checkpoints=["mini.acdc_s90"], modes=["linear"], seeds=[0])
        execute(prepare(Request(selection, tasks_dirs=[folder], results=tmp_path / "runs")))
    (record,) = Store(tmp_path / "runs").read()
    assert record.spec.metric == "mean_per_class"


@pytest.mark.usefixtures("without_figures")
def test_two_folders_of_one_name_are_two_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k, (parent, checkpoint) in enumerate((("x", "mini.dense"), ("y", "mini.acdc_s90"))):
        image_folder(tmp_path / parent / "photos", classes=2 + k)
        task = str(tmp_path / parent / "photos")
        sparsebench.run(checkpoint=checkpoint, task=task, probe="ridge", results=tmp_path / "runs")
    assert main(["report", "--results", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    assert "'photos' stands for 2 different ones" in capsys.readouterr().err
    board = pd.read_csv(tmp_path / "out" / "leaderboard.csv")
    assert "acc_photos" in board, "the newest keeps the name"
    assert sum(column.startswith("acc_photos@") for column in board) == 1
    assert board["rank_low"].isna().all()


def test_the_plan_as_json_says_what_defines_each_run(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--suite", "quick", "--tasks-dir", str(tasks), "--checkpoint", "mini.acdc_s90", "--mode", "linear"]
    options += ["--no-reference"]
    assert main(["run", *options, "--results", str(tasks / "none"), "--dry-run", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [run["seed"] for run in runs] == [0, 1]
    for run in runs:
        assert run["record_key"].startswith(run["run_id"] + "-")
        assert run["to_do"] is True
        assert {"arch", "weights_sha256", "mask_sha256", "split_sha256", "transform_sha256", "protocol"} <= run.keys()
        assert RunSpec.model_validate(run).record_key == run["record_key"]


def test_heads_and_predicted_classes_are_kept(tasks: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    common: dict[str, Any] = {"suite": "quick", "tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90", "seed": 0}
    sparsebench.run(results=tmp_path / "a", mode="linear", **common)
    (record,) = Store(tmp_path / "a").read()
    with safe_open(tmp_path / "a" / (record.head_file or ""), "numpy") as head:
        assert head.get_tensor("weight").shape == (3, 256)
        assert record.run_id in head.metadata()["head"]
    predictions = Store(tmp_path / "a").predictions(record)
    assert (predictions.predicted == predictions.labels).mean() == pytest.approx(record.scores.top1)  # type: ignore[union-attr]
    sparsebench.run(results=tmp_path / "b", mode="linear", predictions="classes", save_heads=False, **common)
    (small,) = Store(tmp_path / "b").read()
    assert small.head_file is None
    assert Store(tmp_path / "b").predictions(small).logits is None
    assert (Store(tmp_path / "b").predictions(small).predicted == predictions.predicted).all()
