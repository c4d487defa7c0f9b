"""``report`` over damaged files: each is named once and left out, and everything else is written."""

from __future__ import annotations

from pathlib import Path

import pytest

import tasks_quick
from sparsebench.cli import main


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a results folder with a reference and a sparse checkpoint, also scored on a corruption."""
    folder = tmp_path_factory.mktemp("damaged")
    tasks = tasks_quick.quick_suite(folder / "tasks")
    run = ["run", "--suite", "quick", "--checkpoint", "mini.acdc_s90", "--mode", "linear", "--probe", "lbfgs"]
    more = ["--shift", "contrast:3", "--tasks-dir", str(tasks), "--results", str(folder / "runs")]
    assert main([*run, *more]) == 0
    return folder / "runs"


@pytest.mark.parametrize("what", ["records/mini.acdc_s90", "predictions"])
@pytest.mark.usefixtures("without_figures")
def test_it_is_named_once(what: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = sorted((results / what).rglob("*.*"))[0]
    whole = file.read_bytes()
    file.write_bytes(whole[:-30])
    try:
        assert main(["report", "--results", str(results), "--out", str(tmp_path / "out"), "--html"]) == 0
    finally:
        file.write_bytes(whole)
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len([line for line in warned if file.name in line or file.name.partition(".")[0] in line]) == 1, warned
    assert {"leaderboard.csv", "shift.csv", "report.html"} <= {path.name for path in (tmp_path / "out").iterdir()}
