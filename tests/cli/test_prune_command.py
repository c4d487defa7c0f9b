"""``prune``: what it writes, says, and refuses."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsebench.cli import main
from sparsebench.models.formats import read_checkpoint
from tasks_quick import image_folder

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
