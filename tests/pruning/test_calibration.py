"""One-shot pruning needs no labels: any photographs re-estimate batch norm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sparsebench
from sparsebench.cli import main


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for k in range(12):
        path = tmp_path / "photos" / f"album {k % 2}" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def test_a_registered_network_is_pruned_on_photographs(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "mine.safetensors"
    line = ["--init", "mini.dense", "--sparsity", "0.5", "0.7", "--data", str(photos), "--out", str(out)]
    assert main(["prune", "--method", "magnitude", *line]) == 0
    assert "no val top-1: the data only calibrated" in capsys.readouterr().out
    pruned = sparsebench.load(out.with_name("mine_s70.safetensors"), head=True)
    dense = sparsebench.load("mini.dense", head=True)
    assert pruned.info.num_classes == 200
    assert pruned.info.checkpoint.reference == "mini.dense"
    assert pruned.info.checkpoint.upstream is None
    assert pruned.info.sparsity_measured == pytest.approx(0.7, abs=1e-4)
    ours, theirs = pruned.module.state_dict(), dense.module.state_dict()
    kept = pruned.masks["layer1.0.conv1.weight"]
    assert torch.equal(ours["layer1.0.conv1.weight"][kept], theirs["layer1.0.conv1.weight"][kept])
    assert not torch.equal(ours["bn1.running_mean"], theirs["bn1.running_mean"])


def test_exempting_nothing(photos: Path, tmp_path: Path) -> None:
    line = ["--init", "mini.dense", "--sparsity", "0.5", "--exempt", "none", "--data", str(photos)]
    assert main(["prune", "--method", "magnitude", *line, "--out", str(tmp_path / "a.safetensors")]) == 0
    assert {"conv1.weight", "fc.weight"} <= set(sparsebench.load(tmp_path / "a.safetensors", head=True).masks)


def test_training_methods_still_need_classes(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [
        "--init",
        "mini.dense",
        "--sparsity",
        "0.5",
        "--data",
        str(photos),
        "--out",
        str(tmp_path / "a.safetensors"),
    ]
    assert main(["prune", "--method", "gmp", *line]) == 2
    assert "has no train/ folder" in capsys.readouterr().err


def test_a_folder_without_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    line = ["--init", "mini.dense", "--sparsity", "0.5", "--data", str(tmp_path / "empty")]
    assert main(["prune", "--method", "magnitude", *line, "--out", str(tmp_path / "a.safetensors")]) == 2
    assert "no image in or below" in capsys.readouterr().err


def test_an_init_that_is_neither_file_nor_id(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--init", "mini.dnse", "--sparsity", "0.5", "--data", str(photos), "--out", str(tmp_path / "a.safetensors")]
    assert main(["prune", "--method", "magnitude", *line]) == 2
    assert "a file, or a registered id" in capsys.readouterr().err
