"""What a plan does about checkpoints and data sets that are not here: refuse, name them, or leave them out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsebench.cli import main
from sparsebench.store import Store
from tasks_quick import quick_suite

SUITE = """
holes:
  tasks: [colours, absent, elsewhere]
  archs: [mini]
  modes:
    linear: {protocol: quick-linear, seeds: [0, 1]}
"""
REGISTRY = """
mini.manual_s90:
  {method: acdc, arch: mini, sparsity: 0.9, file: {path: "cache:manual.safetensors", manual: ask its authors}}
mini.addressed_s90:
  {method: gmp, arch: mini, sparsity: 0.9, file: {path: "cache:addressed.safetensors", url: "https://example.org/a"}}
"""
HERE, MANUAL, ADDRESSED = "mini.acdc_s90", "mini.manual_s90", "mini.addressed_s90"


@pytest.fixture
def line(tmp_path: Path) -> list[str]:
    """A suite of three tasks, of which one is here, and a registry with two checkpoints that aren't."""
    tasks = quick_suite(tmp_path / "tasks")
    with (tasks / "suites.yaml").open("a") as file:
        file.write(SUITE)
    for name in ("absent", "elsewhere"):
        (tasks / f"{name}.yaml").write_text(f"loader: imagefolder\nroot: {name}\n")
    (tmp_path / "own.yaml").write_text(REGISTRY)
    where = ["--registry", str(tmp_path / "own.yaml"), "--tasks-dir", str(tasks), "--results", str(tmp_path / "runs")]
    return ["run", "--suite", "holes", "--no-reference", *where]


def checkpoints(*names: str) -> list[str]:
    return [part for name in names for part in ("--checkpoint", name)]


def test_a_dry_run_names_all_that_is_missing_and_ends_well(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, *checkpoints(HERE, MANUAL, ADDRESSED), "--dry-run"]) == 0
    out = capsys.readouterr().out
    table, rest = out.split("\n\n", 1)
    assert table.count("missing") == 8
    assert table.count("checkpoint and data set missing") == 4
    for name in (MANUAL, ADDRESSED, "absent", "elsewhere"):
        assert name in rest
    assert "ask its authors" in rest
    assert "https://example.org/a" in rest
    assert "sparsebench fetch --suite holes" in rest
    assert "18 runs, 2 to do, 16 once what is missing is here" in rest
    assert not (tmp_path / "runs").exists()


def test_the_json_of_what_is_missing_has_null_ids_and_says_what(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, *checkpoints(HERE, MANUAL), "--dry-run", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert len(runs) == 12
    known = [run for run in runs if run["run_id"] is not None]
    assert [(run["checkpoint"], run["task"], run["seed"]) for run in known] == [(HERE, "colours", k) for k in (0, 1)]
    for run in runs:
        gone = {need["id"] for need in run.get("missing", [])}
        assert gone == {run["checkpoint"], run["task"]} - {HERE, "colours"}
        assert (run["run_id"] is None) == (run["record_key"] is None) == bool(gone)


def test_a_run_names_all_that_is_missing_not_the_first(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line, *checkpoints(HERE, MANUAL)]) == 2
    (text,) = capsys.readouterr().err.splitlines()
    assert text.startswith("error: not here, and no address gives them: 1 checkpoint (mini.manual_s90), 2 data sets")
    assert "absent, elsewhere" in text
    assert text.endswith("--skip-missing runs the rest")


def test_skip_missing_runs_the_rest_and_says_what_it_left_out(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, *checkpoints(HERE, MANUAL, ADDRESSED), "--skip-missing"]) == 0
    captured = capsys.readouterr()
    left_out = [text for text in captured.err.splitlines() if text.startswith("left out: ")]
    assert len(left_out) == 4
    for name in (MANUAL, ADDRESSED, "absent", "elsewhere"):
        assert sum(name in text for text in left_out) >= 1
    assert {(r.spec.checkpoint, r.spec.task) for r in Store(tmp_path / "runs").read()} == {(HERE, "colours")}


def test_skip_missing_with_nothing_left_is_an_error(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, *checkpoints(MANUAL), "--skip-missing"]) == 2
    assert "nothing of it is here: 1 checkpoint (mini.manual_s90), 2 data sets" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--skip-missing"]])
def test_a_folder_that_was_misspelt_is_not_missing_data(
    option: list[str], line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, *checkpoints(HERE), "--task", str(tmp_path / "photoz"), *option]) == 2
    assert "no folder" in capsys.readouterr().err


@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--skip-missing"]])
def test_data_that_is_here_and_damaged_is_not_missing(
    option: list[str], line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "tasks" / "colours" / "class1" / "3.png"
    broken.write_bytes(broken.read_bytes()[:-200])
    assert main([*line, *checkpoints(HERE), *option]) == 2
    assert "3.png" in capsys.readouterr().err
