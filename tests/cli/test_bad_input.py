"""What is wrong with input is one line and status 2, and nothing is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

import sparsebench
from sparsebench.cli import main
from sparsebench.common.files import sha256_file
from tasks_quick import image_folder

BAD = {
    "method": (["--method", "acdd"], "unknown method 'acdd'; did you mean acdc"),
    "sparsity": (
        ["--method", "acdc", "--sparsity", "0.7"],
        "no checkpoint of acdc at sparsity 0.7; there are: 0.5, 0.8, 0.9, 0.95",
    ),
    "task": (["--task", "digit"], "unknown task 'digit'; did you mean digits"),
    "mode": (["--mode", "liner"], "unknown mode 'liner'; did you mean linear"),
    "suite": (["--suite", "minni"], "unknown suite 'minni'; did you mean mini"),
    "engine": (["--engine", "torhc"], "unknown engine 'torhc'; did you mean torch"),
    "device": (["--device", "cuda:99"], "device 'cuda:99' isn't there"),
    "file": (["--checkpoint", "none.pth", "--arch", "resnet18"], "there is no file none.pth"),
    "folder": (["--task", "no/such/folder"], "no/such/folder"),
    "data": (["--data", "/no/such"], "--data /no/such is not a folder"),
    "results": (["--results", "/dev/null/runs"], "/dev/null/runs"),
    "seed": (["--seed", "-1"], "--seed -1 is not a seed"),
    "registry": (["--registry", "none.yaml"], "none.yaml can't be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_status_2_and_nothing_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    extra, message = BAD[name]
    assert main(["run", *extra]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.strip().count("\n") == 0
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["run", "--metod", "acdc"], "--metod acdc; did you mean --method"),
        (["bench", "--overwrite"], "--overwrite; it belongs to sparsebench run"),
        (["run", "--sparsity", "high"], "invalid float value: 'high'; see sparsebench run --help"),
        (["run", "--jobs", "0"], "'0' is not a whole number from 1 on"),
        (["rnu"], "invalid choice: 'rnu'"),
        ([], "required: COMMAND"),
    ],
)
def test_arguments_that_make_no_sense_are_one_line(
    line: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(line)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_damaged_embedded_checkpoints_are_found_before_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sparsebench.load("mini.acdc_s90").info.path
    own = tmp_path / "own.yaml"
    whole = path.read_bytes()
    damaged = tmp_path / "damaged.safetensors"
    entry = "mini.own: {method: acdc, arch: mini, sparsity: 0.9, file: {path: damaged.safetensors, sha256: HASH}}\n"
    own.write_text(entry.replace("HASH", sha256_file(path)))
    line = ["run", "--registry", str(own), "--checkpoint", "mini.own", "--results", str(tmp_path / "runs")]
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (None, whole[:-100], bytes(flipped), b""):
        if content is not None:
            damaged.write_bytes(content)
        assert main(line) == 2
        message = capsys.readouterr().err
        assert "mini.own" in message
        assert "is missing" in message or "sha256" in message
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("problem", ["empty class", "broken image", "one class"])
def test_bad_folders(problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = image_folder(tmp_path / "photos", classes=2, images=6)
    if problem == "empty class":
        (folder / "empty").mkdir()
    elif problem == "broken image":
        broken = folder / "class1" / "3.png"
        broken.write_bytes(broken.read_bytes()[:-200])
    else:
        shutil.rmtree(folder / "class1")
    line = ["run", "--method", "acdc", "--task", str(folder), "--results", str(tmp_path / "runs")]
    assert main(line) == 2
    message = capsys.readouterr().err
    assert {"empty class": "empty", "broken image": "3.png", "one class": "class"}[problem] in message
    assert not (tmp_path / "runs").exists()


def test_a_malicious_checkpoint_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Malice:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trap"),)

    torch.save({"state_dict": Malice()}, tmp_path / "evil.pth")
    assert main(["run", "--checkpoint", str(tmp_path / "evil.pth"), "--arch", "resnet18"]) == 2
    assert "was refused" in capsys.readouterr().err
    assert not (tmp_path / "trap").exists()


def test_debug_shows_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "mini.dens", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
