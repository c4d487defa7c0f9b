"""Comparisons of stored runs, and ``sparsebench compare``."""

from __future__ import annotations

import json

import numpy as np
import pytest

from made_up import SHA
from sparsebench.analysis import mcnemar
from sparsebench.cli import main
from sparsebench.report.evidence import evidence
from sparsebench.report.sides import Wanted, read_sides
from sparsebench.schema import Numerics, ResultsError, RunRecord, RunSpec, Scores, UnknownNameError
from sparsebench.store import Predictions, Store
from sparsebench.store.classes import classes_reader

TASKS = ("digits", "glyphs")
N = 400


def write(results, checkpoint, error, seeds=2, replicate=0, mode="linear", keep=True, split=SHA, tasks=TASKS):
    """Write runs whose errors are nested in those of less accurate checkpoints, but for some noise per seed."""
    store = Store(results)
    for place, task in enumerate(tasks):
        hard = np.random.default_rng(place).random(N)
        for seed in range(seeds):
            noise = np.random.default_rng([place, seed, replicate, len(checkpoint)]).random(N)
            wrong = hard + 0.1 * (noise - 0.5) < error
            labels = np.arange(N) % 4
            predicted = np.where(wrong, (labels + 1) % 4, labels)
            spec = RunSpec(
                arch="mini",
                weights_sha256=SHA if not replicate else f"{replicate}{SHA[1:]}",
                mask_sha256=SHA,
                split_sha256=split,
                transform_sha256=SHA,
                mode=mode,
                probe="sgd" if mode == "linear" else None,
                protocol={"lr": 0.01, "of": f"{checkpoint} {task} {mode}"},
                seed=seed,
                checkpoint=checkpoint,
                method="acdc",
                sparsity=0.9,
                sparsity_measured=0.9,
                sparsity_scope="prunable",
                distribution="global",
                replicate=replicate,
                task=task,
                protocol_name=f"test-{mode}",
                metric="top1",
                numerics=Numerics(threads=1),
            )
            accuracy = float(np.mean(~wrong))
            scores = Scores(top1=accuracy, mean_per_class=accuracy, n_train=100, n_test=N, n_classes=4)
            record = RunRecord(status="ok", spec=spec, scores=scores, seconds=1.0, started="2026-01-02T03:04:05Z")
            ids = tuple(f"{task}/{j}" for j in range(N))
            store.write(record, Predictions(ids, labels, predicted) if keep else None)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence") / "runs"
    write(folder, "mini.dense", 0.1)
    write(folder, "mini.good", 0.05)
    write(folder, "mini.bad", 0.3)
    write(folder, "mini.same", 0.1)
    return folder


def compared(first, second, results, **wanted):
    return evidence(*read_sides(str(first), str(second), results, Wanted(**wanted)))


def test_verdicts_and_signs(results):
    bad = compared("mini.bad", "mini.dense", results)
    assert bad.verdict == "worse"
    assert bad.value == pytest.approx(2.0, rel=0.3)
    assert bad.scope == "seeds and test images"
    assert {(task.task, task.verdict) for task in bad.tasks} == {(task, "worse") for task in TASKS}
    assert all(task.difference < 0 for task in bad.tasks)
    assert compared("mini.good", "mini.dense", results).verdict == "better"
    same = compared("mini.same", "mini.dense", results)
    assert same.verdict == "undecided"
    assert same.low < 0 < same.high


def test_json_is_fractions_by_task(results, capsys):
    assert main(["compare", "mini.bad", "mini.dense", "--results", str(results), "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert {"relative_error_increase", "low", "high", "scope"} <= got.keys()
    assert got["low"] < got["relative_error_increase"] < got["high"]
    for task in TASKS:
        own = got["tasks"][task]
        assert own["mcnemar_p"] == mcnemar(own["only_a"], own["only_b"])
        assert own["low"] < own["difference"] < own["high"] < 0
        assert own["mcnemar_p"] <= own["holm_p"]
        assert own["verdict"] == "worse"


def test_text_says_what_is_better_and_over_what(results, capsys):
    assert main(["compare", "mini.good", "mini.dense", "--results", str(results)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mini.good is better than mini.dense: relative error increase")
    assert "95 % over seeds and test images" in out
    assert main(["compare", "mini.same", "mini.dense", "--results", str(results)]) == 0
    assert "undecided" in capsys.readouterr().out


def test_a_glob_is_the_mean_over_what_it_matches(results):
    got = compared("mini.[gb]*", "mini.dense", results)
    assert got.first == ("mini.bad", "mini.good")
    singles = [compared(name, "mini.dense", results).value for name in got.first]
    assert got.value == pytest.approx(np.mean(singles))


def test_folders_are_compared_on_the_checkpoints_that_both_have(results, tmp_path):
    other = tmp_path / "other"
    write(other, "mini.dense", 0.2)
    write(other, "mini.new", 0.2)
    got = compared(other, results, results)
    assert got.first == got.second == ("mini.dense",)
    assert got.verdict == "worse"


def test_replicates_are_one_entry_and_widen_the_scope(tmp_path):
    for replicate in range(3):
        for name, error in (("mini.dense", 0.1), ("mini.bad", 0.3)):
            write(tmp_path, name + (f"_r{replicate}" if replicate else ""), error, replicate=replicate)
    got = compared("mini.bad", "mini.dense", tmp_path)
    assert got.first == ("mini.bad",)
    assert got.scope == "seeds, test images and upstream replicates"
    assert compared("mini.bad_r1", "mini.dense_r1", tmp_path).scope == "seeds and test images"
    assert compared("mini.bad", "mini.dense", tmp_path, replicate=0).scope == "seeds and test images"


def test_replicates_that_one_side_lacks_are_left_out(tmp_path, capsys):
    for name, error in (("mini.dense", 0.1), ("mini.bad", 0.3), ("mini.good", 0.05)):
        write(tmp_path, name, error)
    for name, error in (("mini.dense", 0.12), ("mini.bad", 0.28)):
        write(tmp_path, f"{name}_r1", error, replicate=1)
    lone = compared("mini.bad", "mini.good", tmp_path)
    assert lone.scope == "seeds and test images"
    assert lone.replicates_left_out == (1,)
    assert lone.value == compared("mini.bad", "mini.good", tmp_path, replicate=0).value
    assert compared("mini.bad", "mini.dense", tmp_path).replicates_left_out == ()
    named = compared("mini.bad_r1", "mini.dense", tmp_path)
    own = compared("mini.bad_r1", "mini.bad", tmp_path)
    assert own.value != 0, "not with itself"
    assert named.value == compared("mini.bad_r1", "mini.dense_r1", tmp_path).value, "the dense network it started from"
    assert main(["compare", "mini.bad", "mini.good", "--results", str(tmp_path)]) == 0
    assert "not all checkpoints have them: upstream replicates 1." in capsys.readouterr().out


def test_a_curated_table_with_its_predicted_classes_gives_what_the_records_give(results, tmp_path):
    from sparsebench.store import read_results, write_curated
    from sparsebench.store.curated import FILE, write_classes

    table = read_results(results)
    write_classes(tmp_path / FILE, classes_reader(results)(set(table["record_key"])))
    write_curated(table, tmp_path / "runs.csv")
    for place in (tmp_path, tmp_path / "runs.csv"):
        curated, own = (compared("mini.bad", "mini.dense", folder) for folder in (place, results))
        assert repr(curated) == repr(own)  # from Python 3.13 on, dataclasses that hold the same NaN are not equal
    table.loc[table["checkpoint"] == "mini.bad", "accuracy"] += 0.01  # as a few-shot accuracy, a mean over draws
    write_curated(table, tmp_path / "runs.csv")
    assert compared("mini.bad", "mini.dense", tmp_path).scope == "seeds"


def test_without_predictions_the_scope_is_seeds_and_a_bound_stands_beside(tmp_path):
    write(tmp_path, "mini.dense", 0.1, keep=False)
    write(tmp_path, "mini.bad", 0.3)
    got = compared("mini.bad", "mini.dense", tmp_path)
    assert got.scope == "seeds"
    assert got.image_bound > 0
    assert got.to_json()["tasks"]["digits"]["mcnemar_p"] is None


def test_one_seed_without_predictions_has_no_interval(tmp_path, capsys):
    write(tmp_path, "mini.dense", 0.1, keep=False, seeds=1)
    write(tmp_path, "mini.bad", 0.3, keep=False, seeds=1)
    assert main(["compare", "mini.bad", "mini.dense", "--results", str(tmp_path), "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["low"] is None
    assert got["verdict"] == "undecided"
    assert main(["compare", "mini.bad", "mini.dense", "--results", str(tmp_path)]) == 0


def test_what_cannot_be_compared_is_said(results, tmp_path):
    with pytest.raises(UnknownNameError, match=r"mini\.bda"):
        compared("mini.bda", "mini.dense", results)
    with pytest.raises(UnknownNameError):
        compared("x" * 5000, "mini.dense", results)
    with pytest.raises(ResultsError, match="are the same"):
        compared("mini.bad", "mini.bad", results)
    with pytest.raises(ResultsError, match="no finished run"):
        compared("mini.bad", "mini.dense", results, mode="full")
    write(tmp_path, "mini.dense", 0.1)
    write(tmp_path, "mini.bad", 0.3, split="f" * 64)
    with pytest.raises(ResultsError, match="on different splits"):
        compared("mini.bad", "mini.dense", tmp_path)
    write(tmp_path, "mini.full", 0.3, mode="full")
    with pytest.raises(ResultsError, match="in different ways"):
        compared("mini.full", "mini.dense", tmp_path)
    write(tmp_path, "mini.dense", 0.1, mode="full")
    write(tmp_path, "mini.full", 0.3)
    with pytest.raises(ResultsError, match="several ways"):
        compared("mini.full", "mini.dense", tmp_path)
    assert compared("mini.full", "mini.dense", tmp_path, mode="full").verdict == "worse"


def test_tasks_as_a_sample(results, tmp_path):
    got = evidence(*read_sides("mini.bad", "mini.dense", results, Wanted()), random_tasks=True)
    assert got.scope == "seeds, test images and tasks"
    assert got.to_json()["needed"] is None
    write(tmp_path, "mini.dense", 0.1, keep=False)
    write(tmp_path, "mini.bad", 0.3, keep=False)
    with pytest.raises(ResultsError, match="needs the predictions"):
        evidence(*read_sides("mini.bad", "mini.dense", tmp_path, Wanted()), random_tasks=True)


def test_published_results(capsys):
    names = ["resnet50.rigl_erk_5x_s90", "resnet50.acdc_dense"]
    assert main(["compare", *names, "--results", "published", "--mode", "linear", "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["scope"] == "seeds"
    assert len(got["tasks"]) == 12
