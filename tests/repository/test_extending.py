"""The examples of docs/extending.md: each declares what it says, and its commands run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import sparsebench
from sparsebench import extensions
from sparsebench.cli import main
from sparsebench.cli.parser import build_parser
from sparsebench.extensions import KINDS, table

TEXT = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"```python file=(\S+)\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
PLURALS = {
    "arrays.py": "formats",
    "backwards.py": "executors",
    "centroid.py": "probes",
    "dead_rows.py": "corruptions",
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
    assert {*PLURALS.values(), "methods"} == set(KINDS)


@pytest.mark.parametrize("name", FILES)
def test_an_example_declares_what_it_says(name: str, folder: Path) -> None:
    full = extensions.resolve(PLURALS[name], name)
    assert full.startswith(f"{name.removesuffix('.py')}@")
    assert extensions.get(PLURALS[name], full).missing() is None


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str) -> None:
    words = shlex.split(command)
    assert build_parser().parse_args(words[1:]).command == words[1]


@pytest.mark.slow
def test_commands_run_one_after_the_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = sparsebench.load("mini.acdc_s90", head=True).module.state_dict()
    np.savez("weights.npz", **{name: value.numpy() for name, value in weights.items()})
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        assert main([*words, "--limit", "40"] if words[0] == "run" else words) == 0, command
    records = sparsebench.results("runs")
    assert set(records["status"]) == {"ok"}
    probes = set(records["probe"])
    assert any(probe.startswith("centroid@") for probe in probes)
    assert any(engine.startswith("scripted@") for engine in records["engine"])
    assert "share_better" in (folder / "report" / "leaderboard.csv").read_text().splitlines()[0]
    assert "format arrays@" in capsys.readouterr().out
