"""Numbers of processes that can't share a run are refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsebench.cli import main
from tasks_quick import quick_suite


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mode", "full", "--processes-per-run", "0"], "--processes-per-run"),
        (["--mode", "full", "--processes-per-run", "two"], "--processes-per-run"),
        (["--mode", "linear", "--processes-per-run", "2"], "is for mode full, not for linear"),
        (["--processes-per-run", "2"], "is for mode full, not for linear"),
        (["--mode", "full", "--processes-per-run", "17"], "too many for a batch of 16 images"),
        (["--mode", "full", "--processes-per-run", "5", "--microbatch", "4"], "too many for a microbatch of 4 images"),
        (
            ["--mode", "full", "--processes-per-run", "9", "--set", "parallel.batch_norm=local"],
            "local batch norm needs two images of each process; give 8 or fewer",
        ),
        (["--mode", "full", "--processes-per-run", "2", "--engine", "sparse"], "doesn't go with --engine sparse"),
        (["--mode", "full", "--processes-per-run", "2", "--compile"], "doesn't go with --compile"),
        (["--mode", "full", "--set", "parallel.exchange=int8"], "is for several processes per run, not 1"),
        (["--mode", "full", "--processes-per-run", "2", "--set", "parallel.exchange=int4"], "exchange"),
        (
            ["--mode", "full", "--processes-per-run", "2", "--set", "parallel.processes=3"],
            "is for 3 processes per run, not 2",
        ),
    ],
)
def test_they_are_errors_of_input(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = quick_suite(tmp_path / "tasks")
    where = ["--suite", "quick", "--tasks-dir", str(tasks), "--data", str(tasks), "--results", str(tmp_path / "runs")]
    try:
        status = main(["run", "--checkpoint", "mini.acdc_s90", "--no-reference", *where, *options])
    except SystemExit as stop:  # the parser's own
        status = int(stop.code or 0)
    assert status == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
