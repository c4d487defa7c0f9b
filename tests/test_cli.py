from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import sparsebench
from sparsebench.cli import main
from sparsebench.files import sha256_file
from sparsebench.store import Store
from tasks_quick import image_folder, quick_suite


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_suite(tmp_path_factory.mktemp("quick"))


def arguments(tasks: Path, results: Path) -> list[str]:
    return ["run", "--suite", "quick", "--tasks-dir", str(tasks), "--results", str(results), "--method", "acdc"]


def test_run_ends_with_a_table_and_the_command_for_the_reference(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*arguments(tasks, tmp_path / "runs"), "--mode", "linear"]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "mini.acdc_s90" in out
    assert "colours" in out
    assert "sparsebench run --checkpoint mini.dense --mode linear" in out
    reference = next(part for part in out.splitlines() if "--checkpoint mini.dense" in part).split()[1:]
    assert main(reference) == 0
    capsys.readouterr()
    assert main(line) == 0
    captured = capsys.readouterr()
    assert "has not run" not in captured.out
    assert "2 done before, 0 to do" in captured.err
    assert "Relative error %" in captured.out


def test_dry_run_prints_the_plan_and_writes_nothing(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(tasks, tmp_path / "runs"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "3 runs, 3 to do" in out
    assert "quick-full" in out
    assert not (tmp_path / "runs").exists()


def test_status_and_report(tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    assert main([*arguments(tasks, runs), "--mode", "linear"]) == 0
    first = next((runs / "records").rglob("*.json"))
    first.unlink()
    capsys.readouterr()
    assert main(["status", "--results", str(runs)]) == 0
    assert "1 done, 0 failed, 1 missing of 2 runs" in capsys.readouterr().out
    assert main(["report", "--results", str(runs), "--out", str(tmp_path / "report")]) == 0
    written = capsys.readouterr().out.split()
    assert {Path(p).suffix for p in written} >= {".csv", ".md", ".tex", ".png", ".pdf"}
    assert all(Path(p).stat().st_size > 0 for p in written)


def test_inspect_counts_zeros_as_an_independent_count_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "mini.gmp_s90", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    state = sparsebench.load("mini.gmp_s90", head=True).module.state_dict()
    for layer in document["layers"]:
        assert layer["zeros"] == int((state[layer["name"]] == 0).sum())
    masked = [layer for layer in document["layers"] if layer["masked"]]
    share = sum(layer["zeros"] for layer in masked) / sum(layer["weights"] for layer in masked)
    assert document["sparsity"]["measured"]["prunable"] == pytest.approx(share)
    assert share == pytest.approx(0.9, abs=1e-5)
    assert document["sha256"] == sha256_file(Path(document["file"]))
    assert document["flops"]["sparse"] < document["flops"]["dense"]
    assert main(["inspect", "mini.gmp_s90"]) == 0
    assert "exempt" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["checkpoints", "tasks", "methods", "suites"])
def test_list(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    expected = {"checkpoints": "mini.acdc_s90", "tasks": "glyphs", "methods": "AC/DC", "suites": "cvpr22-linear"}
    assert expected[what] in capsys.readouterr().out


def test_own_checkpoint_on_an_own_folder(
    pruned_resnet18: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = image_folder(tmp_path / "photos", classes=2, images=6, size=40)
    line = ["run", "--checkpoint", str(pruned_resnet18), "--arch", "resnet18", "--task", str(folder)]
    assert main([*line, "--mode", "linear", "--seed", "0", "--results", str(tmp_path / "runs")]) == 0
    captured = capsys.readouterr()
    assert "photos" in captured.out
    assert "no reference is registered" in captured.out
    (record,) = Store(tmp_path / "runs").read()
    assert record.spec.sparsity_measured == pytest.approx(0.8, abs=1e-4)


BAD = {
    "method": (["--method", "acdd"], "unknown method 'acdd'; did you mean acdc"),
    "sparsity": (["--method", "acdc", "--sparsity", "0.7"], "no checkpoint of acdc at sparsity 0.7; there are: 0.9"),
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--method", "gpm", "--sparsity", "0.9"], "unknown pruning method 'gpm'; did you mean gmp?"),
        (["--method", "acdc", "--sparsity", "1.5"], "impossible sparsity 1.5"),
        (["--method", "acdc"], "impossible sparsity 0"),
        (["--method", "dense", "--sparsity", "0.5"], "--sparsity 0.5 with --method dense"),
        (["--method", "gmp", "--sparsity", "0.9"], "starts from trained dense weights; give them with --init"),
        (["--method", "acdc", "--sparsity", "0.9", "--init", "x"], "method acdc trains from scratch"),
        (["--method", "acdc", "--sparsity", "0.9", "--out", "a.pth"], "must end in .safetensors"),
        (["--method", "acdc", "--sparsity", "0.9"], "no upstream data at none.npz"),
    ],
)
def test_prune_refuses_what_it_cannot_do(
    line: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prune", "--data", "none.npz", "--out", "a.safetensors", *line]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_from_where_it_was(number: signal.Signals, tasks: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sparsebench", *arguments(tasks, tmp_path / "runs")]
    command += [part for seed in range(12) for part in ("--seed", str(seed))]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 120
    records = tmp_path / "runs" / "records"
    while not list(records.rglob("*.json")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert number == signal.SIGKILL or "goes on from here" in err
    kept = {p.name: p.read_bytes() for p in records.rglob("*.json") if not p.name.startswith(".")}
    assert kept
    assert main(command[3:]) == 0
    assert len(Store(tmp_path / "runs").read()) == 24
    after = {p.name: p.read_bytes() for p in records.rglob("*.json") if not p.name.startswith(".")}
    assert kept.items() <= after.items()
