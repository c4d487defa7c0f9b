"""JSON schemas of the YAML files: they accept what is registered, refuse mistakes, and describe every field."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from sparsebench.api.file_schemas import KINDS, file_schema
from sparsebench.cli import main
from sparsebench.cli.options.schema import KINDS as OFFERED
from sparsebench.common.paths import root_file

TASKS = root_file("tasks")
FILES = {
    "checkpoint": [root_file("checkpoints.yaml")],
    "task": sorted(path for path in TASKS.glob("*.yaml") if path.stem not in ("suites", "protocols")),
    "protocol": [TASKS / "protocols.yaml"],
    "suite": [TASKS / "suites.yaml"],
}
CASES = [(kind, path) for kind, paths in FILES.items() for path in paths]


def errors(kind: str, content: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(file_schema(kind)).iter_errors(content)]


def test_the_command_offers_every_kind() -> None:
    assert set(OFFERED) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_one_and_the_command_prints_it(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == file_schema(kind)
    Draft202012Validator.check_schema(printed)


@pytest.mark.parametrize(("kind", "path"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_what_comes_with_the_package_is_accepted(kind: str, path: Any) -> None:
    assert errors(kind, yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def test_a_protocol_has_the_settings_of_its_probe() -> None:
    assert errors("protocol", {"mine": {"mode": "linear", "probe": "ridge", "l2": {"low": 0.1}}}) == []
    assert errors("protocol", {"mine": {"mode": "linear", "probe": "ridge", "l2": {"lowest": 0.1}}})


ENTRY = {"method": "acdc", "arch": "resnet50", "sparsity": 0.9, "file": {"path": "x.pth"}}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("checkpoint", {"a.b": {**ENTRY, "sparisty": 0.9}}),
        ("checkpoint", {"a.b": {**ENTRY, "sparsity": 1.5}}),
        ("checkpoint", {"a.b": {**ENTRY, "file": {}}}),
        ("checkpoint", {"a b": ENTRY}),
        ("task", {"loader": "imagefolder", "metric": "top5"}),
        ("task", {"root": "birds"}),
        ("protocol", {"a+b": {"mode": "full", "lr": 0.1, "epochs": 1}}),
        ("suite", {"mine": {"tasks": [], "archs": ["mini"], "modes": {}}}),
        ("cluster", {"time_minutes": 0}),
    ],
)
def test_what_no_file_may_say_is_refused(kind: str, content: Any) -> None:
    assert errors(kind, content)
    assert errors("checkpoint", {"a.b": copy.deepcopy(ENTRY)}) == []


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Return the parts of a schema that have fields."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind: str) -> None:
    bare = [
        f"{part.get('title')}.{name}"
        for part in objects(file_schema(kind))
        for name, field in part["properties"].items()
        if "description" not in field
    ]
    assert bare == []
