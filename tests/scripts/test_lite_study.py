"""The study of results/lite: its commands are ones that exist, and what is done isn't done again."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsebench.cli.parser import parse
from sparsebench.registry import load_registry
from sparsebench.schema import InputError

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import lite


def test_every_command_is_one_that_sparsebench_understands(tmp_path: Path) -> None:
    found = list(lite.steps(tmp_path, tmp_path / "work", lite.NETWORKS))
    for step in {step.part: step for step in found}.values():
        parse(list(step.command))
    assert [step.part for step in found].count("prune") == 36
    assert {step.part for step in found} == set(lite.PARTS)


def test_suite_and_networks_are_known() -> None:
    registry = load_registry([], [lite.TASKS], None)
    assert registry.suite("lite").tasks == ("dtd10", "cifar10-2000")
    for network in lite.NETWORKS:
        assert registry.checkpoint(lite.dense(network)).arch in registry.suite("lite").archs


def test_what_is_there_is_not_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = tmp_path / "work"
    (work / "checkpoints").mkdir(parents=True)
    for sparsity in lite.SPARSITIES[:3]:
        lite.checkpoint(work, "lite0", "wanda", sparsity).touch()
    asked = ["--data", str(tmp_path), "--work", str(work), "--network", "lite0", "--part", "prune", "--plan"]
    assert lite.main(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 - 3
    assert [line for line in lines if "--method wanda" in line] == [line for line in lines if "lite0_wanda_s80" in line]


def cifar(path: Path, each: int) -> Path:
    arrays = {"classes": np.array(["a", "b"])}
    for split in ("train", "test"):
        data = []
        for i in range(2 * each):
            out = io.BytesIO()
            Image.new("RGB", (4, 4), (i % 256, i // 256, 0)).save(out, "JPEG")
            data.append(out.getvalue())
        arrays[f"{split}_jpeg"] = np.frombuffer(b"".join(data), dtype=np.uint8)
        arrays[f"{split}_offset"] = np.cumsum([0, *map(len, data)])
        arrays[f"{split}_label"] = np.arange(2 * each) % 2
    np.savez(path, **arrays)
    return path


def test_cifar_is_written_by_split_and_class(tmp_path: Path) -> None:
    lite.write_cifar(cifar(tmp_path / "cifar10.npz", 210), tmp_path / "out")
    for split, count in {"train": 170, "val": 30, "test": 200}.items():
        assert [len(list((tmp_path / "out" / split / label).iterdir())) for label in "ab"] == [count, count]
    assert (tmp_path / "out" / "train" / "b" / "00001.jpg").is_file()
    assert not (tmp_path / "out" / "val" / "a" / "00000.jpg").exists()


def test_too_few_images_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few train images of a"):
        lite.write_cifar(cifar(tmp_path / "cifar10.npz", 180), tmp_path / "out")
