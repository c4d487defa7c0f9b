"""``--mode upstream``: what is planned, refused, recorded and shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import sparsebench
from made_up_images import own_images
from sparsebench import cli
from sparsebench.datasets import open_task
from sparsebench.datasets.images.transforms import Transform
from sparsebench.registry import load_registry
from sparsebench.schema import InputError
from sparsebench.store import Store

TWINS = ["mini.dense", "mini.acdc_s90"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_images(tmp_path_factory.mktemp("data"))


def run(data: Path, results: Path, **more: Any) -> pd.DataFrame:
    options: dict[str, Any] = {"mode": "upstream", "checkpoint": TWINS, "data_dir": data} | more
    return sparsebench.run(results=results, **options)


@torch.inference_mode()
def logits_of(name: str, data: Path) -> tuple[np.ndarray, np.ndarray]:
    network = sparsebench.load(name, head=True)
    test = open_task(load_registry().task("tinyimagenet32"), data).test
    transform = Transform(network.preprocess)
    images = torch.stack([transform.evaluate(test.load(i)) for i in range(len(test))])
    return network.module(transform.normalise(images)).numpy(), test.labels


def test_twins_are_scored_by_their_own_heads(data: Path, tmp_path: Path) -> None:
    table = run(data, tmp_path / "runs").set_index("checkpoint")
    assert (table["status"] == "ok").all(), table["error"].tolist()
    assert set(table["task"]) == {"tinyimagenet32"}
    assert (table["seed"] == 0).all()
    assert (table["n_train"] == 0).all()
    assert table["probe"].isna().all()
    records = {record.spec.checkpoint: record for record in Store(tmp_path / "runs").read()}
    for name, row in table.iterrows():
        logits, labels = logits_of(str(name), data)
        assert row["top1"] == row["accuracy"] == np.mean(logits.argmax(axis=1) == labels)
        ranked = np.argsort(-logits, axis=1)[:, :5]
        assert row["top5"] == np.mean((ranked == labels[:, None]).any(axis=1))
        assert row["upstream_top1"] == load_registry().checkpoint(str(name)).upstream.top1
        kept = Store(tmp_path / "runs").predictions(records[str(name)])
        assert kept.logits is None
        assert kept.predicted.tolist() == logits.argmax(axis=1).tolist()
    heads = {record.spec.head_sha256 for record in records.values()}
    assert len(heads) == 2
    assert None not in heads


def test_the_head_is_in_the_id(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "runs", checkpoint="mini.dense")
    (record,) = Store(tmp_path / "runs").read()
    other = record.spec.model_copy(update={"head_sha256": "0" * 64})
    assert other.run_id != record.run_id
    assert record.spec.protocol == {}


def test_seeds_change_nothing(data: Path, tmp_path: Path) -> None:
    first = run(data, tmp_path / "runs", checkpoint="mini.dense")
    assert run(data, tmp_path / "runs", checkpoint="mini.dense", seed=[3, 4])["run_id"].tolist() == list(
        first["run_id"]
    )


def test_logits_on_request(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "runs", checkpoint="mini.dense", predictions="logits")
    (record,) = Store(tmp_path / "runs").read()
    kept = Store(tmp_path / "runs").predictions(record)
    np.testing.assert_allclose(kept.logits, logits_of("mini.dense", data)[0], rtol=2e-3, atol=2e-2)


@pytest.mark.slow
def test_workers_give_the_same_numbers(data: Path, tmp_path: Path) -> None:
    one, two = run(data, tmp_path / "one"), run(data, tmp_path / "two", jobs=2)
    kept = [
        {r.spec.checkpoint: (r.record_key, r.scores, r.predictions_sha256) for r in Store(tmp_path / name).read()}
        for name in ("one", "two")
    ]
    assert kept[0] == kept[1]
    assert set(one["run_id"]) == set(two["run_id"])


def test_beside_transfer_each_mode_has_its_own_tasks(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "run",
        "--mode",
        "linear",
        "upstream",
        "--checkpoint",
        "mini.dense",
        "--task",
        "digits",
        "--limit",
        "20",
    ]
    assert cli.main([*arguments, "--task", "tinyimagenet32", "--data", str(data), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert {(row["task"], row["mode"]) for row in plan} == {
        ("digits-limit20", "linear"), ("tinyimagenet32-limit20", "upstream")
    }  # fmt: skip


def test_a_plan_names_missing_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--mode", "upstream", "--checkpoint", "mini.dense", "--data", str(tmp_path)]
    assert cli.main([*arguments, "--dry-run"]) == 0
    assert "data set missing" in capsys.readouterr().out
    assert cli.main(arguments) == 2
    assert "tiny-imagenet-32.npz" in capsys.readouterr().err


def without_head(folder: Path) -> Path:
    network = sparsebench.load("mini.dense")
    path = folder / "bare.pth"
    torch.save(network.module.state_dict(), path)
    return path


def with_other_head(folder: Path, classes: int) -> Path:
    network = sparsebench.load("mini.dense", head=True)
    state = network.module.state_dict()
    state |= {"fc.weight": torch.randn(classes, 256), "fc.bias": torch.zeros(classes)}
    path = folder / "other.pth"
    torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "linear", "task": "tinyimagenet32"}, "no images to learn from.*--mode upstream"),
        ({"task": "digits"}, "'digits' is no checkpoint's own.*tinyimagenet32"),
        (
            {"task": "imagenet"},
            "mini.dense was trained on tiny-imagenet-32, whose task is tinyimagenet32, not imagenet",
        ),
        ({"set": "lr=0.1"}, "--set changes nothing in mode upstream"),
        ({"probe": "knn"}, "--probe is for linear mode"),
        ({"mode": ["linear", "upstream"], "task": "tinyimagenet32"}, "no task for mode linear"),
        ({"checkpoint": "resnet50.superblock"}, "resnet50.superblock"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        run(data, tmp_path / "runs", **options)
    assert not (tmp_path / "runs" / "records").exists()


def test_a_file_without_a_head_or_with_another_is_refused(data: Path, tmp_path: Path) -> None:
    options = {"task": "tinyimagenet32", "arch": "mini"}
    with pytest.raises(InputError, match="has no head: its file holds features alone"):
        run(data, tmp_path / "runs", checkpoint=without_head(tmp_path), **options)
    with pytest.raises(InputError, match="its head has 7 classes, task tinyimagenet32 has 200"):
        run(data, tmp_path / "runs", checkpoint=with_other_head(tmp_path, 7), **options)
    with pytest.raises(InputError, match="there is no task for its own head"):
        run(data, tmp_path / "runs", checkpoint=with_other_head(tmp_path, 7), arch="mini")


def test_images_of_some_classes_are_tested_with_the_whole_head(tmp_path: Path) -> None:
    some = own_images(tmp_path / "data", count=9, classes=3)
    table = run(some, tmp_path / "runs", checkpoint="mini.dense")
    assert table["n_classes"].tolist() == [200]
    assert table["top1"].tolist() == [np.mean(np.argmax(logits_of("mini.dense", some)[0], 1) == np.arange(9) % 3)]
