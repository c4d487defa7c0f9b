"""The README's commands parse, its Python runs, its YAML is valid."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from sparsebench.cli.parser import build_parser
from sparsebench.schema import Checkpoint

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
HOOKS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
READ = HOOKS["fancy-pypi-readme"]


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


def test_it_is_short() -> None:
    assert len(README.read_text().splitlines()) < 150


def test_its_links_work_on_a_package_index() -> None:
    """There the files beside it are missing: what the build replaces leaves no relative link."""
    text = README.read_text()
    for rule in READ["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    targets = re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text)
    assert len(targets) > 10
    assert [target for pair in targets for target in pair if target and not target.startswith("https://")] == []


def test_yaml_is_valid() -> None:
    (registry,) = (yaml.safe_load(block) for block in blocks("yaml"))
    for name, fields in registry.items():
        assert Checkpoint.model_validate({"id": name, **fields}).id == name
