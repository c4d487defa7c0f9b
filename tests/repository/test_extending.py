"""The examples of the how-to pages on extensions: each declares what it says, and its commands run."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import documents
import numpy as np
import pytest
from PIL import Image

import sparsebench
from sparsebench import extensions
from sparsebench.cli import main
from sparsebench.cli.parser import build_parser
from sparsebench.extensions import KINDS, table
from sparsebench.pruning.methods import get_method

PAGES = sorted((documents.DOCS / "how-to").glob("add-*.md"), key=lambda page: (page.stem == "add-column", page.stem))
FILES = {name: code for page in PAGES for name, code in documents.files(page).items()}
COMMANDS = [command for page in PAGES for command in documents.commands(page)]
SMALL = {"run": ["--limit", "40"], "prune": ["--batch-size", "8"]}
PLURALS = {
    "arrays.py": "formats",
    "backwards.py": "executors",
    "centroid.py": "probes",
    "dead_rows.py": "corruptions",
    "noisy.py": "methods",
    "scripted.py": "engines",
    "share_better.py": "columns",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(table, "_from_files", {plural: {} for plural in KINDS})
    monkeypatch.chdir(tmp_path)
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    return tmp_path


def test_every_kind_has_an_example() -> None:
    assert set(FILES) == set(PLURALS)
    assert set(PLURALS.values()) == set(KINDS)


@pytest.mark.parametrize("name", sorted(set(FILES) - {"noisy.py"}))
def test_an_example_declares_what_it_says(name: str, folder: Path) -> None:
    full = extensions.resolve(PLURALS[name], name)
    assert full.startswith(f"{name.removesuffix('.py')}@")
    assert extensions.get(PLURALS[name], full).missing() is None


def test_the_pruning_method_is_one(folder: Path) -> None:
    method = get_method("noisy.py")
    assert method.name == "noisy"
    assert method.settings_model.model_fields["noise"].default == 0.1


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str) -> None:
    words = shlex.split(command)
    assert build_parser().parse_args(words[1:]).command == words[1]


@pytest.mark.slow
def test_commands_run_one_after_the_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = sparsebench.load("mini.acdc_s90", head=True).module.state_dict()
    np.savez("weights.npz", **{name: value.numpy() for name, value in weights.items()})
    rng = np.random.default_rng(0)
    for split, label, i in itertools.product(("train", "val"), ("a", "b"), range(8)):
        path = folder / "photos" / split / label / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        assert main([*words, *SMALL.get(words[0], [])]) == 0, command
    records = sparsebench.results("runs")
    assert set(records["status"]) == {"ok"}
    probes = set(records["probe"])
    assert any(probe.startswith("centroid@") for probe in probes)
    assert any(engine.startswith("scripted@") for engine in records["engine"])
    assert "share_better" in (folder / "report" / "leaderboard.csv").read_text().splitlines()[0]
    assert sparsebench.load("noisy.safetensors").info.sparsity_measured == pytest.approx(0.9, abs=1e-3)
    assert "format arrays@" in capsys.readouterr().out
