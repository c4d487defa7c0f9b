"""The README's commands parse, its Python runs, its YAML is valid."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from sparsebench.cli.parser import build_parser
from sparsebench.schema import Checkpoint, Task

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&") if "sparsebench " in part]


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command: str) -> None:
    words = shlex.split(command, comments=True)
    assert Path(words[0]).name == "sparsebench"
    assert build_parser().parse_args(words[1:]).command == words[1]


def test_there_are_commands_to_parse() -> None:
    assert len(commands()) > 8


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    space: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), space)
    assert space["features"].shape == (8, 256)  # type: ignore[attr-defined]
    assert len(space["table"]) == 2  # type: ignore[arg-type]
    assert "mini.acdc_s90" in capsys.readouterr().out


def test_yaml_is_valid() -> None:
    registry, task = (yaml.safe_load(block) for block in blocks("yaml"))
    for name, fields in registry.items():
        assert Checkpoint.model_validate({"id": name, **fields}).id == name
    assert Task.model_validate({"id": "birds", **task}).loader == "imagefolder"
