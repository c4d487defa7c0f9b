"""docs/engineering/design.md is true to the code: what it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import sparsebench

PACKAGE = Path(sparsebench.__file__).parent
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "engineering" / "design.md").read_text(encoding="utf-8")
WALKS = TEXT.partition("## A checkpoint's id becomes a record")[2].partition("## What earns its lines")[0]
CODE = r"`([^`\n]+)`"


def defined() -> set[str]:
    """Return the names of all functions and classes of the package."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py"))
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)}


def test_the_picture_has_every_package() -> None:
    picture = TEXT.partition("```")[2].partition("```")[0]
    drawn = set(re.findall(r"([a-z]+)(?:\.py)? ─", picture))
    there = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} - {"weights"}
    assert there | {"api"} <= drawn


@pytest.mark.parametrize("name", sorted({n for n in re.findall(CODE, TEXT) if re.fullmatch(r"[\w/]+(\.py|/)", n)}))
def test_files_and_folders_are_there(name: str) -> None:
    found = [(base / name).exists() for base in (PACKAGE, ROOT, PACKAGE / "datasets/images")]
    assert any(found), f"docs/engineering/design.md names {name}"


def test_the_walks_name_what_the_code_defines() -> None:
    known = defined() | {path.stem for path in PACKAGE.rglob("*.py")} | {path.name for path in PACKAGE.rglob("*")}
    names = [n for n in re.findall(CODE, WALKS) if re.fullmatch(r"[A-Za-z_]+(\.[a-z_]+)?", n)]
    named = {n for n in names if not n.endswith(".py")}
    assert len(named) > 15
    assert not [n for n in named if not set(n.split(".")) <= known]
