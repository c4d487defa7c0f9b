from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sparsebench
from sparsebench import extensions
from sparsebench.cli import main
from sparsebench.common.files import sha256_file
from sparsebench.engines.sparse import available
from sparsebench.models.formats import read_checkpoint
from sparsebench.store import Store
from tasks_quick import image_folder, quick_suite


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_suite(tmp_path_factory.mktemp("quick"))


def arguments(tasks: Path, results: Path) -> list[str]:
    return [
        "run",
        "--suite",
        "quick",
        "--tasks-dir",
        str(tasks),
        "--results",
        str(results),
        "--method",
        "acdc",
        "--sparsity",
        "0.9",
        "--no-reference",
    ]


def test_a_run_takes_its_reference_along_and_names_it(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [part for part in arguments(tasks, tmp_path / "runs") if part != "--no-reference"]
    assert main([*line, "--mode", "linear", "--seed", "3"]) == 0
    captured = capsys.readouterr()
    assert "2 runs: 0 done before, 2 to do" in captured.err
    assert "Relative error: against mini.dense." in captured.out
    specs = [record.spec for record in Store(tmp_path / "runs").read()]
    assert sorted((s.checkpoint, s.task, s.mode, s.seed) for s in specs) == [
        (name, "colours", "linear", 3) for name in ("mini.acdc_s90", "mini.dense")
    ]


def test_a_reference_that_is_asked_for_is_not_run_twice(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["run", "--suite", "quick", "--tasks-dir", str(tasks), "--mode", "linear", "--dry-run"]
    names = ["--checkpoint", "mini.dense", "--checkpoint", "mini.acdc_s90", "--checkpoint", "mini.gmp_s90"]
    assert main([*line, *names]) == 0
    assert "6 runs, 6 to do" in capsys.readouterr().out


def test_the_library_runs_references_when_asked(tasks: Path, tmp_path: Path) -> None:
    common = {"checkpoint": "mini.acdc_s90", "suite": "quick", "tasks_dirs": [tasks], "mode": "linear", "seed": 0}
    for reference, names in ((False, ["mini.acdc_s90"]), (True, ["mini.acdc_s90", "mini.dense"])):
        table = sparsebench.run(results=tmp_path / "runs", reference=reference, **common)
        assert sorted(table["checkpoint"]) == names


def test_without_its_reference_a_run_ends_with_a_table_and_the_command_for_the_reference(
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


def test_inspect_counts_what_no_mask_holds_and_all_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "mini.acdc_s90_dense", "--json"]) == 0
    twin = json.loads(capsys.readouterr().out)
    assert twin["unheld"]["zeros"] == twin["zeros"] - twin["held"] == 59021
    assert twin["sparsity"]["measured"] == {"prunable": 0.0, "pruned_layers": 0.0, "all_params": 0.0}
    assert main(["inspect", "mini.acdc_s90_dense"]) == 0
    assert "59,021 (4.63% of the weights that no mask holds)" in capsys.readouterr().out
    assert main(["inspect", "mini.magnitude_s90", "--json"]) == 0
    derived = json.loads(capsys.readouterr().out)
    names = ("mini.magnitude_s90.safetensors", "mini.dense.safetensors")
    assert [Path(file["path"]).name for file in derived["files"]] == list(names)
    assert derived["bytes"] == sum(Path(file["path"]).stat().st_size for file in derived["files"])
    assert derived["packed_bytes"] == sparsebench.load("mini.magnitude_s90").info.packed_bytes
    assert main(["inspect", "mini.magnitude_s90"]) == 0
    assert f"packed {derived['packed_bytes']:,}" in capsys.readouterr().out


LISTED = {
    "checkpoints": "mini.acdc_s90",
    "columns": "relative_error_low",
    "corruptions": "saved as JPEG of low quality",
    "engines": "only the nonzero weights",
    "executors": "slurm",
    "formats": "torch.nn.utils.prune",
    "methods": "AC/DC",
    "probes": "fewshot",
    "suites": "cvpr22-linear",
    "tasks": "glyphs",
}


@pytest.mark.parametrize("what", LISTED)
def test_list(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    assert LISTED[what] in capsys.readouterr().out
    assert main(["list", what, "--json"]) == 0
    assert LISTED[what] in capsys.readouterr().out


def test_list_says_what_is_missing_to_use_an_engine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsebench.extensions.base.find_spec", lambda name: None)
    assert main(["list", "engines", "--json"]) == 0
    found = {one["name"]: one["missing"] for one in json.loads(capsys.readouterr().out)}
    assert found["onnxruntime"] == 'needs: pip install "sparsebench[onnxruntime]"'
    assert found["torch"] is None


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


ACDC = ["--method", "acdc", "--sparsity", "0.9"]
HERE = ["--init", __file__]

PRUNE_REFUSED = {
    "method": (["--method", "gpm", "--sparsity", "0.9"], "unknown pruning method 'gpm'; did you mean gmp?"),
    "no sparsity": (["--method", "acdc"], "method acdc needs a sparsity; give one, for example --sparsity 0.9"),
    "sparsity above 1": (["--method", "acdc", "--sparsity", "1.5"], "impossible sparsity 1.5; give a fraction between"),
    "sparsity 0": (["--method", "acdc", "--sparsity", "0"], "impossible sparsity 0; give a fraction between 0 and 1"),
    "sparsity of dense": (["--method", "dense", "--sparsity", "0.5"], "--sparsity 0.5 with --method dense; leave"),
    "several": (
        ["--method", "acdc", "--sparsity", "0.8", "0.9"],
        "method acdc makes one sparsity per training; give one",
    ),
    "one of several": (["--method", "cram", "--sparsity", "0.8", "1.0"], "impossible sparsity 1; give a fraction"),
    "no init": (["--method", "gmp", "--sparsity", "0.9"], "starts from trained dense weights; give them with --init"),
    "needless init": ([*ACDC, *HERE], "method acdc trains from scratch; leave --init out"),
    "missing init": (["--method", "lth", "--sparsity", "0.9", "--init", "none"], "there is no file none; give trained"),
    "one shot": (
        ["--method", "magnitude", "--sparsity", "0.9", *HERE, "--epochs", "3"],
        "method magnitude doesn't train; leave --epochs out",
    ),
    "out": ([*ACDC, "--out", "a.pth"], "--out a.pth must end in .safetensors; for example a.safetensors"),
    "data": (
        ACDC,
        "no upstream data at none.npz; give a .npz of JPEGs, a folder with train/ and val/, or torchvision:",
    ),
    "architecture": ([*ACDC, "--arch", "resnet81"], "unknown architecture 'resnet81'; did you mean resnet18"),
    "torchvision": ([*ACDC, "--data", "torchvision:CIFAR10"], "'torchvision:CIFAR10' is not torchvision:NAME:FOLDER"),
    "data set": ([*ACDC, "--data", "torchvision:CIFAR11:."], "unknown torchvision data set 'CIFAR11'; did you mean"),
    "pattern's sparsity": ([*ACDC, "--nm", "2:4"], "2:4 can't have sparsity 0.9; its sparsity is 0.5"),
    "pattern of a method": (
        ["--method", "str", "--nm", "2:4"],
        "str can't make distribution 'nm'; it can make: learned",
    ),
    "pattern of dense": (
        ["--method", "dense", "--nm", "2:4"],
        "dense can't make distribution 'nm'; it can make: dense",
    ),
    "pattern and distribution": (
        ["--method", "acdc", "--nm", "2:4", "--distribution", "erk"],
        "distribution nm and an N:M pattern go together; give both, for example --nm 2:4",
    ),
    "no pattern": ([*ACDC, "--distribution", "nm"], "distribution nm and an N:M pattern go together"),
    "distribution": (
        ["--method", "rigl", "--sparsity", "0.9", "--distribution", "global"],
        "method rigl can't make distribution 'global'; it can make: erk, uniform",
    ),
    "setting": (
        ["--method", "rigl", "--sparsity", "0.9", "--set", "alhpa=1"],
        "unknown setting of rigl 'alhpa'; did you",
    ),
    "setting of another": ([*ACDC, "--set", "rho=0.1"], "unknown setting of acdc 'rho'"),
    "negative setting": (
        ["--method", "cram", "--sparsity", "0.9", "--set", "rho=-0.1"],
        "rho=-0.1 is not a setting of cram; it is a number from 0 on; the default is 0.05",
    ),
    "broken setting": (
        ["--method", "gmp", "--sparsity", "0.9", *HERE, "--set", "prunings=2.5"],
        "prunings=2.5 is not a setting of gmp; it is a whole number from 1 on; the default is 24",
    ),
    "a word for a number": (
        ["--method", "rigl", "--sparsity", "0.9", "--set", "alpha=high"],
        "alpha=high is not a setting of rigl; it is a number from 0 to 1; the default is 0.3",
    ),
    "an unknown word": (
        ["--method", "str", "--sparsity", "0.9", "--set", "schedule=linear"],
        "schedule=linear is not a setting of str; it is cubic or none; the default is cubic",
    ),
}


@pytest.mark.parametrize("name", PRUNE_REFUSED)
def test_prune_refuses_what_it_cannot_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line, message = PRUNE_REFUSED[name]
    assert main(["prune", "--data", "none.npz", "--out", "a.safetensors", *line]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    *before, last = captured.err.splitlines()
    assert last.startswith("error: ")
    assert all(text.startswith("reading ") for text in before)
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--nm", "24"], "argument --nm: '24' is not a pattern N:M, for example 2:4"),
        (["--nm", "2:4:8"], "argument --nm: '2:4:8' is not a pattern N:M"),
        (["--nm=-2:4"], "argument --nm: '-2:4' is not a pattern N:M"),
        (["--set", "alpha"], "argument --set: 'alpha' is not KEY=VALUE"),
        (["--set", "alpha="], "argument --set: 'alpha=' is not KEY=VALUE"),
        (["--schedule", "sine"], "argument --schedule: 'sine' is not cosine, constant or steps"),
        (["--schedule", "0.5:0.1,0.2:0.01"], "is not cosine, constant or steps, for example 0.3:0.1,0.7:0.01"),
        (["--schedule", "0.5:0"], "is not cosine, constant or steps"),
        (["--recipe", "papers"], "argument --recipe: invalid choice: 'papers'"),
        (["--scope", "everything"], "argument --scope: invalid choice: 'everything'"),
        (["--distribution", "even"], "argument --distribution: invalid choice: 'even'"),
        (["--sparsity", "0.8", "high"], "argument --sparsity: invalid float value: 'high'"),
        (["--sparsity"], "argument --sparsity: expected at least one argument"),
        (["--epochs", "0"], "argument --epochs: '0' is not a whole number from 1 on"),
        (["--batch-size", "-1"], "argument --batch-size: '-1' is not a whole number from 1 on"),
        (["--seed", "-1"], "argument --seed: '-1' is not a whole number from 0 on"),
        (["--out", ""], "the path is empty"),
        (["--exmpt", "fc"], "--exmpt fc; did you mean --exempt"),
    ],
)
def test_prunes_arguments_that_make_no_sense_are_one_line(
    line: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["prune", "--method", "acdc", "--data", "none.npz", "--out", "a.safetensors", *line])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def upstream_npz(path: Path, classes: int = 3, images: int = 8) -> Path:
    """Write noisy JPEGs of one colour per class, the same for training and validation."""
    jpegs = []
    for colour in np.random.default_rng(0).uniform(40, 200, (classes, 3)):
        for i in range(images):
            pixels = np.clip(np.random.default_rng(i).normal(colour, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG")
            jpegs.append(buffer.getvalue())
    arrays: dict[str, np.ndarray] = {"classes": np.array([f"class{k}" for k in range(classes)])}
    for split in ("train", "val"):
        arrays[f"{split}_jpeg"] = np.frombuffer(b"".join(jpegs), np.uint8)
        arrays[f"{split}_offset"] = np.cumsum([0, *map(len, jpegs)])
        arrays[f"{split}_label"] = np.repeat(np.arange(classes), images)
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return upstream_npz(tmp_path_factory.mktemp("upstream") / "colours.npz")


def prune_line(data: Path, out: Path, *more: str) -> list[str]:
    return ["prune", "--data", str(data), "--out", str(out), "--epochs", "1", "--batch-size", "6", *more]


def test_prune_writes_a_file_for_each_sparsity_and_says_so(
    colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = prune_line(colours, tmp_path / "mini.cram.safetensors", "--method", "cram", "--sparsity", "0.8", "0.95")
    assert main(line) == 0
    captured = capsys.readouterr()
    files = [tmp_path / f"mini.cram_{ending}.safetensors" for ending in ("dense", "s80", "s95")]
    log = tmp_path / "mini.cram.log.csv"
    assert sorted(tmp_path.iterdir()) == sorted([*files, log])
    lines = captured.out.splitlines()
    for text, path, sparsity in zip(lines[:-1], files, ("0", "0.8", "0.95"), strict=True):
        assert text.startswith(f"{path}: sparsity {sparsity}, val top-1 ")
        meta = read_checkpoint(path).meta
        assert meta["upstream"]["dataset"] == "colours"
        assert text.endswith(f" {meta['upstream']['top1']:.2%}")
        assert meta["command"] == (
            "sparsebench prune --method cram --sparsity 0.8 0.95 --data colours.npz --epochs 1 --batch-size 6"
            " --threads 1 --out mini.cram.safetensors"
        )
    assert lines[-1] == f"log in {log}"
    assert f"reading {colours}" in captured.err
    assert "epoch 1/1: loss " in captured.err

    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(line) == 2
    assert "already there; choose another file, or delete it first" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept

    assert main(["inspect", str(files[2]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sparsity"]["measured"]["prunable"] == pytest.approx(0.95, abs=1e-5)

    # the dense network can be pruned on its own, too
    once = tmp_path / "mini.magnitude.safetensors"
    again = ["--method", "magnitude", "--sparsity", "0.8", "--init", str(files[0])]
    assert main(["prune", "--data", str(colours), "--out", str(once), *again]) == 0
    assert capsys.readouterr().out.startswith(f"{once}: sparsity 0.8, val top-1 ")
    assert (
        read_checkpoint(once)
        .meta["command"]
        .endswith("--init mini.cram_dense.safetensors --threads 1 --out " + once.name)
    )


PRUNE_CHOICES: dict[str, tuple[list[str], dict[str, object], dict[str, object]]] = {
    "pattern": (
        ["--method", "acdc", "--nm", "2:4"],
        {"sparsity": 0.5, "nm": "2:4", "distribution": "nm", "sparsity_scope": "prunable", "exempt": ["conv1", "fc"]},
        {"nm": [2, 4], "sparsities": [0.5]},
    ),
    "another recipe": (
        shlex.split(
            "--method str --recipe published --sparsity 0.7 --set schedule=cubic --set initial_s=-10 --momentum 0.5"
            " --decay-on weights --label-smoothing 0.2 --warmup 0.1 --schedule 0.5:0.1,0.75:0.01"
        ),
        {"method": "str", "exempt": []},
        {"momentum": 0.5, "nesterov": False, "decay_on": "weights", "label_smoothing": 0.2, "warmup": 0.1}
        | {"drops": [[0.5, 0.1], [0.75, 0.01]], "weight_decay": 2.2518e-5},
    ),
    "the rest": (
        shlex.split(
            "--method RigL --sparsity 0.7 --distribution uniform --scope all_params --set updates=3 --set alpha=0.5"
            " --exempt conv1 --exempt layer1.0.conv1 --lr 0.05 --weight-decay 0.001 --seed 3"
        ),
        {
            "method": "rigl",
            "sparsity": 0.7,
            "nm": None,
            "distribution": "uniform",
            "sparsity_scope": "all_params",
            "exempt": ["conv1", "layer1.0.conv1"],
        },
        {
            "settings": {"alpha": 0.5, "updates": 3, "end": 0.75, "anneal": "cosine"},
            "lr": 0.05,
            "weight_decay": 0.001,
            "seed": 3,
        },
    ),
}


@pytest.mark.parametrize("what", PRUNE_CHOICES)
def test_what_prune_is_given_is_in_the_file_and_in_its_command(
    what: str, colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, said, recipe = PRUNE_CHOICES[what]
    out = tmp_path / "a.safetensors"
    assert main(prune_line(colours, out, *line)) == 0
    meta = read_checkpoint(out).meta
    assert {key: meta[key] for key in said} == said
    assert {key: meta["recipe"][key] for key in recipe} == recipe
    words = shlex.split(meta["command"])
    given = [pair for pair in itertools.pairwise(line) if pair[0].startswith("--")]
    assert set(given) <= set(itertools.pairwise(words))

    # the recorded command makes the same file again, where its data is
    (tmp_path / "again").mkdir()
    shutil.copy(colours, tmp_path / "again")
    with contextlib.chdir(tmp_path / "again"):
        assert main(words[1:]) == 0
    assert (tmp_path / "again" / "a.safetensors").read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--nm", "2:4", "--exempt", "fc"], "2:4 is impossible for layer conv1: it has 3 inputs"),
        (["--sparsity", "0.9999", "--distribution", "uniform"], "no weight would be left in layer"),
        (["--sparsity", "0.9", "--batch-size", "25"], "24 training images don't fill one batch of 25"),
        (
            ["--sparsity", "0.6", "--scope", "all_params", "--exempt", "layer4.0.conv2"],
            "sparsity 0.6 of all parameters is impossible",
        ),
        (["--sparsity", "0.9", "--lr", "0"], "--lr 0.0 is not a learning rate; give a positive number"),
    ],
)
def test_prune_refuses_what_its_network_or_data_cannot_have(
    line: list[str], message: str, colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(prune_line(colours, tmp_path / "a.safetensors", "--method", "acdc", *line)) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("error: ") == 1
    assert list(tmp_path.iterdir()) == []


def test_prune_refuses_data_of_one_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upstream_npz(tmp_path / "one.npz", classes=1)
    for split in ("train", "val"):
        image_folder(tmp_path / "one" / split, classes=1, images=2)
    there = sorted(tmp_path.rglob("*"))
    sources = (("one.npz", "has 1 class(es); training needs at least two"), ("one", "only one class, 'class0'"))
    for source, message in sources:
        assert main(prune_line(tmp_path / source, tmp_path / "a.safetensors", *ACDC)) == 2
        assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == there


def test_a_diverging_pruning_ends_with_status_1_and_what_to_try(
    colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(prune_line(colours, tmp_path / "a.safetensors", *ACDC, "--lr", "1e12", "--epochs", "5")) == 1
    err = capsys.readouterr().err
    assert "error: the loss is " in err
    assert "; try a lower --lr than 1e+12" in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("*.safetensors"))


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


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_stopped_run_goes_on_from_where_it_was(number: signal.Signals, tasks: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sparsebench", *arguments(tasks, tmp_path / "runs")]
    command += [part for seed in range(6) for part in ("--seed", str(seed))]
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
    assert len(Store(tmp_path / "runs").read()) == 12
    after = {p.name: p.read_bytes() for p in records.rglob("*.json") if not p.name.startswith(".")}
    assert kept.items() <= after.items()


@pytest.mark.parametrize("engine", ["sparse", "auto"])
def test_the_engine_that_ran_is_in_the_records(tasks: Path, tmp_path: Path, engine: str) -> None:
    results = tmp_path / "runs"
    assert main([*arguments(tasks, results), "--mode", "linear", "--engine", engine]) == 0
    ran = {record.spec.numerics.engine for record in Store(results).read()}
    plans = [json.loads(path.read_text()) for path in (results / "plans").glob("*.json")]
    assert ran == {run["numerics"]["engine"] for plan in plans for group in plan["groups"] for run in group["runs"]}
    assert ran <= ({"sparse"} if engine == "sparse" and available() else set(extensions.names("engines")))


@pytest.mark.skipif(not available(), reason="the kernels are not built")
@pytest.mark.parametrize(
    ("option", "message"), [("--precision=bf16", "computes in fp32"), ("--compile", "use torch.compile")]
)
def test_what_engine_sparse_can_not_do_is_bad_input(
    tasks: Path, tmp_path: Path, option: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(tasks, tmp_path / "runs"), "--mode", "linear", "--engine", "sparse", option]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
