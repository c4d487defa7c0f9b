"""``run``: references, plans, and going on after a stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_lines import arguments

import sparsebench
from sparsebench import extensions
from sparsebench.cli import main
from sparsebench.engines.sparse import available
from sparsebench.store import Store


def test_a_run_takes_its_reference_along_and_names_it(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [part for part in arguments(tasks, tmp_path / "runs") if part != "--no-reference"]
    assert main([*line, "--mode", "linear", "--seed", "3"]) == 0
    captured = capsys.readouterr()
    assert "2 runs: 0 done before, 2 to do" in captured.err
    assert "Relative error: against mini.dense." in captured.out
    specs = [record.spec for record in Store(tmp_path / "runs").read()]
    assert sorted((s.checkpoint, s.task, s.mode, s.seed) for s in specs) == [
        (name, "colours", "linear", 3) for name in ("mini.acdc_s90", "mini.dense")
    ]


def test_a_reference_that_is_asked_for_is_not_run_twice(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["run", "--suite", "quick", "--tasks-dir", str(tasks), "--mode", "linear", "--dry-run"]
    names = ["--checkpoint", "mini.dense", "--checkpoint", "mini.acdc_s90", "--checkpoint", "mini.gmp_s90"]
    assert main([*line, *names]) == 0
    assert "6 runs, 6 to do" in capsys.readouterr().out


def test_the_library_runs_references_when_asked(tasks: Path, tmp_path: Path) -> None:
    common = {"checkpoint": "mini.acdc_s90", "suite": "quick", "tasks_dirs": [tasks], "mode": "linear", "seed": 0}
    for reference, names in ((False, ["mini.acdc_s90"]), (True, ["mini.acdc_s90", "mini.dense"])):
        table = sparsebench.run(results=tmp_path / "runs", reference=reference, **common)
        assert sorted(table["checkpoint"]) == names


def test_without_its_reference_a_run_ends_with_a_table_and_the_command_for_the_reference(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*arguments(tasks, tmp_path / "runs"), "--mode", "linear"]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "mini.acdc_s90" in out
    assert "colours" in out
    assert "sparsebench run --checkpoint mini.dense --mode linear" in out
    reference = next(part for part in out.splitlines() if "--checkpoint mini.dense" in part).split()[1:]
    assert main(reference) == 0
    capsys.readouterr()
    assert main(line) == 0
    captured = capsys.readouterr()
    assert "has not run" not in captured.out
    assert "2 done before, 0 to do" in captured.err
    assert "Relative error %" in captured.out


def test_dry_run_prints_the_plan_and_writes_nothing(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(tasks, tmp_path / "runs"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "3 runs, 3 to do" in out
    assert "quick-full" in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_stopped_run_goes_on_from_where_it_was(number: signal.Signals, tasks: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sparsebench", *arguments(tasks, tmp_path / "runs")]
    command += [part for seed in range(6) for part in ("--seed", str(seed))]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 120
    records = tmp_path / "runs" / "records"
    while not list(records.rglob("*.json")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert number == signal.SIGKILL or "goes on from here" in err
    kept = {p.name: p.read_bytes() for p in records.rglob("*.json") if not p.name.startswith(".")}
    assert kept
    assert main(command[3:]) == 0
    assert len(Store(tmp_path / "runs").read()) == 12
    after = {p.name: p.read_bytes() for p in records.rglob("*.json") if not p.name.startswith(".")}
    assert kept.items() <= after.items()


@pytest.mark.parametrize("engine", ["sparse", "auto"])
def test_the_engine_that_ran_is_in_the_records(tasks: Path, tmp_path: Path, engine: str) -> None:
    results = tmp_path / "runs"
    assert main([*arguments(tasks, results), "--mode", "linear", "--engine", engine]) == 0
    ran = {record.spec.numerics.engine for record in Store(results).read()}
    plans = [json.loads(path.read_text()) for path in (results / "plans").glob("*.json")]
    assert ran == {run["numerics"]["engine"] for plan in plans for group in plan["groups"] for run in group["runs"]}
    assert ran <= ({"sparse"} if engine == "sparse" and available() else set(extensions.names("engines")))


@pytest.mark.skipif(not available(), reason="the kernels are not built")
@pytest.mark.parametrize(
    ("option", "message"), [("--precision=bf16", "computes in fp32"), ("--compile", "use torch.compile")]
)
def test_what_engine_sparse_can_not_do_is_bad_input(
    tasks: Path, tmp_path: Path, option: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(tasks, tmp_path / "runs"), "--mode", "linear", "--engine", "sparse", option]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
