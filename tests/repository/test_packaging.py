"""What an installation must carry, and what must stay quick; nothing is built here."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import sparsebench
from sparsebench.cli import main
from sparsebench.cli.parser import build_parser
from sparsebench.common.files import sha256_file
from sparsebench.common.paths import package_file
from sparsebench.registry import load_registry
from sparsebench.schema import Checkpoint, RunRecord, RunSpec, Scores
from sparsebench.store import Store

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "benchmark" / "sparsebench"
WEIGHTS_LIMIT = 40e6
HEAVY = ["torch", "torchvision", "timm", "pandas", "matplotlib", "scipy", "sklearn", "skimage"]

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EMBEDDED = [c for c in load_registry().checkpoints.values() if c.file.path.startswith("package:")]


def in_package(path: str) -> Path:
    return package_file(path.removeprefix("package:"))


@pytest.mark.parametrize("checkpoint", EMBEDDED, ids=lambda c: c.id)
def test_an_embedded_checkpoint_is_there_and_is_the_registered_one(checkpoint: Checkpoint) -> None:
    assert checkpoint.file.sha256 == sha256_file(in_package(checkpoint.file.path))


@pytest.mark.parametrize("checkpoint", EMBEDDED, ids=lambda c: c.id)
def test_an_embedded_checkpoint_comes_with_its_training_log(checkpoint: Checkpoint) -> None:
    log = checkpoint.training.log if checkpoint.training else None
    assert log is not None
    assert in_package(log).stat().st_size > 0


def test_the_embedded_weights_are_small_and_all_registered() -> None:
    files = {path for path in (PACKAGE / "weights").iterdir() if path.suffix == ".safetensors"}
    assert {in_package(c.file.path) for c in EMBEDDED} == files
    assert 0 < sum(path.stat().st_size for path in (PACKAGE / "weights").iterdir()) <= WEIGHTS_LIMIT


def test_every_root_file_that_the_code_asks_for_is_put_into_the_wheel() -> None:
    asked = {name for path in PACKAGE.rglob("*.py") for name in re.findall(r'root_file\("([^"]+)"\)', path.read_text())}
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert asked
    assert asked <= set(included)
    for name, target in included.items():
        assert (ROOT / name).exists()
        assert target == f"sparsebench/_root/{name}"


def test_the_package_marks_itself_typed_and_its_licence_is_there() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert all((ROOT / name).is_file() for name in PROJECT["project"]["license-files"])


def test_there_is_one_version() -> None:
    assert sparsebench.__version__ == PROJECT["project"]["version"]


def commands() -> list[str]:
    actions = build_parser()._actions
    return [name for a in actions if isinstance(a, argparse._SubParsersAction) for name in a.choices]


@pytest.mark.parametrize("command", [[], *([name] for name in commands())], ids=lambda c: " ".join(c) or "none")
def test_help_says_how_to_use_each_command(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    assert " ".join(["usage: sparsebench", *command]) in capsys.readouterr().out


def test_the_console_command_is_the_tested_one() -> None:
    assert PROJECT["project"]["scripts"] == {"sparsebench": f"{main.__module__}:{main.__name__}"}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with one record."""
    spec = RunSpec(
        arch="mini",
        weights_sha256="0" * 64,
        mask_sha256="1" * 64,
        split_sha256="2" * 64,
        transform_sha256="3" * 64,
        mode="linear",
        probe="sgd",
        protocol={"lr": 0.01},
        seed=0,
        checkpoint="mini.acdc_s90",
        method="acdc",
        sparsity=0.9,
        sparsity_measured=0.9,
        sparsity_scope="prunable",
        distribution="global",
        task="digits",
        protocol_name="cvpr22-linear",
        metric="top1",
    )
    scores = Scores(top1=0.5, mean_per_class=0.5, n_train=10, n_test=10, n_classes=2)
    record = RunRecord(status="ok", spec=spec, scores=scores, started="2026-01-02T03:04:05Z")
    Store(tmp_path / "results").write(record)
    return tmp_path / "results"


PROBE = """
import json, sys
import sparsebench
seen = {"import": sorted(sys.modules)}
from sparsebench.cli import main
for argv in json.loads(sys.argv[1]):
    try:
        status = main(argv)
    except SystemExit as end:
        status = end.code
    assert not status, (argv, status)
    seen[" ".join(argv[:2])] = sorted(sys.modules)
print(json.dumps(seen))
"""


def test_what_must_answer_at_once_loads_nothing_heavy(results: Path) -> None:
    listings = [["list", what] for what in ("checkpoints", "tasks", "methods", "suites")]
    argvs = [["--help"], ["run", "--help"], *listings, ["status", "--results", str(results)]]
    command = [sys.executable, "-c", PROBE, json.dumps(argvs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "mini.acdc_s90" in done.stdout
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert len(loaded) == 1 + len(argvs)
    for step, modules in loaded.items():
        assert not set(HEAVY) & set(modules), f"{step} loads {set(HEAVY) & set(modules)}"
