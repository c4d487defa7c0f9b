"""What is printed can be pasted, what is read is harmless, and paths mean what a shell makes of them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.cli.parser import build_parser
from sparsebench.runs.executors.slurm import hints
from sparsebench.schema import InputError
from sparsebench.schema.text import printable, printable_tree


@given(st.text())
def test_printable_text_is_one_line_without_control_characters(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()
    assert printable_tree({"a": [text, (text, 5)]}) == {"a": [shown, (shown, 5)]}


def test_errors_spell_control_characters_out() -> None:
    error = InputError("no \x1b[31mred\nline", "a \u202e hint")
    assert str(error) == r"no \x1b[31mred\nline (a \u202e hint)"


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("run", "results"),
        ("run", "data"),
        ("run", "cluster"),
        ("report", "out"),
        ("report", "compare"),
        ("bench", "out"),
    ],
)
def test_a_tilde_is_the_home_folder_in_every_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, option: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = build_parser().parse_args([command, f"--{option}=~/x"])
    assert getattr(arguments, option) == tmp_path / "x"


def test_commands_to_be_pasted_are_quoted() -> None:
    for line in hints(Path("my runs")).splitlines():
        assert shlex.split(line)[-2:] == ["--results", "my runs"]
