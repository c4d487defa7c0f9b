"""Runs with ``--probe``: what is planned, recorded and shown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import sparsebench
from sparsebench import cli
from sparsebench.api import Request, prepare
from sparsebench.registry import load_registry
from sparsebench.registry.selection import Selection
from sparsebench.runs import runner
from sparsebench.schema import InputError, RunRecord, UnknownNameError, digest
from sparsebench.store import Store
from sparsebench.transfer import linear
from tasks_quick import quick_suite

PROBES = ["sgd", "lbfgs", "ridge", "knn", "fewshot"]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_suite(tmp_path_factory.mktemp("quick"))


def run(tasks: Path, results: Path, **more: object) -> pd.DataFrame:
    options = {"suite": "quick", "tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90"} | more
    return sparsebench.run(results=results, **options)  # type: ignore[arg-type]


def test_every_probe_leaves_its_records_and_columns(tasks: Path, tmp_path: Path) -> None:
    table = run(tasks, tmp_path / "runs", probe=PROBES)
    assert (table["status"] == "ok").all(), table["error"].tolist()
    assert (table["mode"] == "linear").all()
    assert table.groupby("probe")["seed"].apply(list).to_dict() == {
        "sgd": [0, 1], "lbfgs": [0], "ridge": [0], "knn": [0], "fewshot": [0, 1]
    }  # fmt: skip
    by_probe = table.drop_duplicates("probe").set_index("probe")
    assert by_probe.loc["sgd", "protocol"] == "quick-linear"
    assert by_probe.loc[["lbfgs", "ridge"], "chosen"].str.startswith("l2=").all()
    assert by_probe.loc["knn", "chosen"].startswith("k=")
    assert by_probe.loc["fewshot", "few_shot"].startswith("1: ")
    shots = by_probe.loc["fewshot", ["few_shot_1", "few_shot_2", "few_shot_5", "few_shot_10"]]
    assert shots.between(0, 1).all()
    assert shots["few_shot_10"] == by_probe.loc["fewshot", "accuracy"]
    assert by_probe.loc[["sgd", "lbfgs"], ["gradient_norm", "optimality_gap", "relative_gap"]].ge(0).all(axis=None)
    assert by_probe.loc[["lbfgs", "ridge", "knn"], ["n_val", "val_accuracy"]].gt(0).all(axis=None)
    assert by_probe["n_train"].nunique() == 1
    assert table["seconds"].gt(0).all()
    for record in Store(tmp_path / "runs").read():
        assert RunRecord.model_validate(record.model_dump(mode="json")) == record
        assert bool(record.trials) == (record.spec.probe in ("lbfgs", "ridge", "knn"))
        assert len(record.scores.few_shot) == (4 if record.spec.probe == "fewshot" else 0)
    events: list[runner.Event] = []
    pd.testing.assert_frame_equal(run(tasks, tmp_path / "runs", probe=PROBES, emit=events.append), table)
    assert events == []


def test_a_probe_no_seed_changes_is_run_once_whatever_the_seeds(tasks: Path, tmp_path: Path) -> None:
    def ids(**more: object) -> list[str]:
        selection = Selection(suite="quick", checkpoints=["mini.acdc_s90"], **more)  # type: ignore[arg-type]
        request = Request(selection, tasks_dirs=[tasks], results=tmp_path / "none")
        return [r.run_id for r in prepare(request).plan.runs]

    assert ids(probes=["knn"], seeds=[4, 7]) == ids(probes=["knn"])
    assert len(ids(probes=["sgd"], seeds=[4, 7, 9])) == 3
    assert len(set(ids(probes=PROBES))) == 7
    assert ids(probes=["sgd"]) == ids(modes=["linear"])
    assert len(ids(probes=["knn"], modes=["linear", "full"])) == 2


def test_probes_that_cannot_be_run_are_refused(tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown probe 'lbgfs'.*did you mean lbfgs"):
        run(tasks, tmp_path / "runs", probe="lbgfs")
    with pytest.raises(InputError, match="--probe is for linear mode"):
        run(tasks, tmp_path / "runs", probe="knn", mode="full")
    assert not (tmp_path / "runs").exists()


def test_the_command_takes_probes(tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--suite", "quick", "--tasks-dir", str(tasks), "--checkpoint", "mini.acdc_s90"]
    arguments += ["--probe", "ridge", "--probe", "knn", "--results", str(tmp_path / "runs")]
    assert cli.main([*arguments, "--dry-run"]) == 0
    assert "ridge-linear" in capsys.readouterr().out
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "linear · ridge · ridge-linear" in shown
    assert "linear · knn · knn-linear" in shown


def test_all_seeds_are_fitted_in_one_call(tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[int]] = []
    fit = linear.probes.get("sgd")

    def counted(data: object, protocol: object, seeds: list[int], **more: object) -> object:
        calls.append(list(seeds))
        return fit(data, protocol, seeds, **more)

    with monkeypatch.context() as patch:
        patch.setattr(linear.probes, "get", lambda name: counted)
        together = run(tasks, tmp_path / "runs", mode="linear", seed=[0, 1, 2])
    assert calls == [[0, 1, 2]]
    assert together["seconds"].max() < 60
    alone = run(tasks, tmp_path / "alone", mode="linear", seed=2)
    assert alone["accuracy"].tolist() == together.loc[together["seed"] == 2, "accuracy"].tolist()


def test_the_digests_of_earlier_protocols_are_what_they_were() -> None:
    protocols = [p for p in load_registry().protocols.values() if p.probe in (None, "sgd")]
    found = {p.name: digest(p.resolved())[:16] for p in protocols if "select_by" not in p.resolved()}
    assert found == {
        "cvpr22-linear": "9f60e70297b061f8",
        "mini-full": "5912e186f4adde2c",
        "holdout-linear": "93a08b4e500a65a3",
        "holdout-full": "de25f4e1f6e80394",
    }


def test_what_is_selected_by_a_metric_names_it() -> None:
    selecting = [p for p in load_registry().protocols.values() if "select_by" in p.resolved()]
    assert {p.name for p in selecting} >= {"cvpr22-full", "tuned-linear", "tuned-full", "ridge-linear", "knn-linear"}
    assert all(p.resolved("mean_per_class")["select_by"] == "mean_per_class" for p in selecting)
