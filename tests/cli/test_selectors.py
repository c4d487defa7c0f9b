"""Selectors take several values at once or repeated, and other harnesses' names for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparsebench.cli import main
from sparsebench.cli.parser import build_parser
from tasks_quick import quick_suite


@pytest.mark.parametrize("command", ["run", "fetch", "bench"])
def test_several_values_at_once_or_repeated(command: str) -> None:
    parse = build_parser().parse_args
    for line in (
        ["--sparsity", "0.8", "0.9", "--method", "acdc"],
        ["--sparsity=0.8", "--method=acdc", "--sparsity=0.9"],
    ):
        arguments = parse([command, *line])
        assert (arguments.sparsity, arguments.method) == ([0.8, 0.9], ["acdc"])
    assert parse([command]).sparsity == []


def test_other_harnesses_names() -> None:
    run = build_parser().parse_args(["run", "--model", "a", "b", "--dataset", "c", "--output", "there"])
    assert (run.checkpoint, run.task, run.results) == (["a", "b"], ["c"], Path("there"))
    for command in ("report", "bench"):
        assert build_parser().parse_args([command, "--output", "there"]).out == Path("there")


def printed(line: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(line) == 0
    return json.loads(capsys.readouterr().out)


def test_list_takes_selectors_and_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    every = printed(["list", "checkpoints", "--json"], capsys)
    line = ["list", "checkpoints", "--json", "--method", "AC/DC", "--checkpoint", "mini.*"]
    assert printed(line, capsys) == [c for c in every if c["method"] == "acdc" and c["checkpoint"].startswith("mini.")]
    found = printed(["list", "checkpoints", "--json", "--suite", "mini", "--sparsity", "0.8", "0.9"], capsys)
    assert {(c["arch"], c["sparsity"]) for c in found} == {("mini", 0.8), ("mini", 0.9)}
    tasks = printed(["list", "tasks", "--json", "--suite", "mini", "--task", "!digits"], capsys)
    assert [(task["task"], type(task["classes"])) for task in tasks] == [("glyphs", int), ("textures", int)]
    assert [m["method"] for m in printed(["list", "methods", "--json", "--method", "AC/DC"], capsys)] == ["acdc"]
    assert [s["suite"] for s in printed(["list", "suites", "--json", "--suite", "mini"], capsys)] == ["mini"]
    assert main(["list", "tasks", "--task", "digit"]) == 2
    assert "unknown task 'digit'; did you mean digits" in capsys.readouterr().err


@pytest.mark.usefixtures("without_figures")
def test_run_status_and_report_print_json_of_what_is_selected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks, where = quick_suite(tmp_path / "tasks"), ["--results", str(tmp_path / "runs")]
    line = ["run", "--suite", "quick", "--tasks-dir", str(tasks), "--checkpoint", "mini.acdc_s90", "mini.gmp_s80"]
    rows = printed([*line, "--mode", "linear", "--json", *where], capsys)
    assert {row["checkpoint"] for row in rows} == {"mini.dense", "mini.acdc_s90", "mini.gmp_s80"}
    for row in rows:
        assert row["cells"]["colours"]["n"] == 2
        assert row["mean_accuracy"] == pytest.approx(row["cells"]["colours"]["mean"])
    status = printed(["status", *where, "--json", "--checkpoint", "*_s?0"], capsys)
    assert (status["runs"], status["done"], len(status["cells"])) == (4, 4, 2)
    assert main(["status", *where, "--checkpoint", "mini.acdc"]) == 2
    assert "did you mean mini.acdc_s90" in capsys.readouterr().err
    report = ["report", *where, "--out", str(tmp_path / "out"), "--tasks-dir", str(tasks), "--json"]
    document = printed([*report, "--method", "acdc"], capsys)
    assert {row["checkpoint"] for row in document["leaderboard"]} == {"mini.dense", "mini.acdc_s90"}
    assert all(Path(file).is_file() for file in document["files"])
    for wrong in (["--sparsity", "0.7"], ["--task", "digits"], ["--method", "acdc", "--sparsity", "0.8"]):
        assert main([*report, *wrong]) == 2
