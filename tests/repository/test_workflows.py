"""Workflows on what strangers submit: no privileges where their files are, none of their files where privileges are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

WORKFLOWS = Path(__file__).parents[2] / ".github" / "workflows"
FILES = sorted(WORKFLOWS.glob("*.yml"))


def read(name: str) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load((WORKFLOWS / name).read_text())
    return document


def steps(document: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in document["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_says_what_its_token_may_do_and_leaves_it_to_no_step(path: Path) -> None:
    document = read(path.name)
    assert "permissions" in document
    assert "pull_request_target" not in path.read_text()
    checkouts = [step for step in steps(document) if str(step.get("uses", "")).startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_command_has_text_of_an_event_in_it(path: Path) -> None:
    for step in steps(read(path.name)):
        assert not re.search(r"\$\{\{\s*github\.(event|head_ref)", str(step.get("run", "")))


def test_bundles_are_verified_without_privileges_by_the_base_branch_s_code() -> None:
    document = read("bundle.yml")
    assert list(document[True]) == ["pull_request"]  # YAML reads `on` as true
    assert document["permissions"] == {"contents": "read"}
    ours, theirs = (
        step["with"] for step in steps(document) if str(step.get("uses", "")).startswith("actions/checkout@")
    )
    assert ours["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert theirs["sparse-checkout"] == "results/community"
    for step in steps(document):
        assert not re.search(r"(python|pip install|bash|source)\S*\s+\S*submitted", str(step.get("run", "")))
    assert not re.search(r"\{\{\s*secrets\.", (WORKFLOWS / "bundle.yml").read_text())


def test_the_comment_is_written_by_the_default_branch_s_code() -> None:
    document = read("bundle-comment.yml")
    assert document[True] == {"workflow_run": {"workflows": [read("bundle.yml")["name"]], "types": ["completed"]}}
    assert document["permissions"] == {"actions": "read", "contents": "read", "pull-requests": "write"}
    (checkout,) = (step for step in steps(document) if str(step.get("uses", "")).startswith("actions/checkout@"))
    assert "ref" not in checkout["with"]
    assert "repository" not in checkout["with"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("mine-s90.zip", 0),
        ("--json=x.zip", 1),
        ("-x.zip", 1),
        ("a b.zip", 1),
        ("a\n::set-output::.zip", 1),
        ("m\u0456.zip", 1),
    ],
)
def test_a_bundle_s_name_is_no_option_and_no_command(name: str, status: int, tmp_path: Path) -> None:
    (script,) = (
        step["run"] for step in steps(read("bundle.yml")) if step.get("name") == "which bundles are new or changed"
    )
    for folder in ("submitted", "trusted"):
        (tmp_path / folder / "results" / "community").mkdir(parents=True)
    (tmp_path / "submitted" / "results" / "community" / name).write_bytes(b"PK")
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "::" not in done.stdout + done.stderr
    assert status or (tmp_path / "found" / "names").read_bytes() == name.encode() + b"\0"
