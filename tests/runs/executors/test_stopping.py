"""Commands and workers that are told to stop keep what they have computed, and hold nothing."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sparsebench.api import Request, prepare
from sparsebench.cli import main
from sparsebench.registry.selection import Selection
from sparsebench.runs.executors.protocol import encode_job
from sparsebench.runs.options import RunOptions
from tasks_quick import quick_suite

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
PATIENCE = 300.0


def rarely(number: signal.Signals) -> Any:
    """Try this one with the slow tests: each starts processes."""
    return pytest.param(number, marks=pytest.mark.slow)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A suite whose trainings are too long to end."""
    folder = quick_suite(tmp_path / "tasks")
    protocols = folder / "protocols.yaml"
    protocols.write_text(protocols.read_text().replace("epochs: 2,", "epochs: 100000,"))
    suites = folder / "suites.yaml"
    suites.write_text(suites.read_text().replace("seeds: [0]}", "seeds: [0, 1]}"))
    return folder


@pytest.fixture(autouse=True)
def hangups_count() -> Iterator[None]:
    """Let commands be ended by a closed terminal, also where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def command(tasks: Path, results: Path, *more: str) -> list[str]:
    line = [sys.executable, "-m", "sparsebench", "run", "--suite", "quick", "--tasks-dir", str(tasks)]
    line += ["--data", str(tasks), "--checkpoint", "mini.acdc_s90", "--mode", "full", "--results", str(results)]
    return [*line, "--no-reference", "--checkpoint-every", "0.001", *more]


@contextmanager
def running(line: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process that doesn't outlive the test."""
    with subprocess.Popen(line, env=ENV, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "nothing has happened"
        time.sleep(0.02)


def states(results: Path) -> list[Path]:
    return list(results.glob("unfinished/*/training.pt"))


def assert_given_back(results: Path, count: int) -> None:
    assert len(states(results)) == count
    assert list(results.glob("claims/*.json")) == []
    assert list(results.glob("records/**/*.json")) == []
    assert list(results.rglob(".*.tmp")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, rarely(signal.SIGHUP), rarely(signal.SIGQUIT)])
def test_a_command_that_is_signalled_keeps_its_state(number: signal.Signals, tasks: Path, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    with running(command(tasks, results), stderr=subprocess.PIPE) as process:
        until(lambda: states(results))
        for _ in range(2):  # a shell and the kernel both announce a closed terminal
            process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}; the same command goes on from here" in said
    assert_given_back(results, 1)


@pytest.mark.slow
def test_a_command_whose_terminal_is_closed_keeps_its_state(tasks: Path, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, command(tasks, results), ENV)
    try:
        until(lambda: states(results))
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    assert_given_back(results, 1)


def short_command(tasks: Path, results: Path) -> list[str]:
    line = command(tasks, results, "--retries", "0")[:-4]
    line[line.index("full")] = "linear"
    return line


def test_messages_that_nobody_can_read_end_no_command(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as lost, monkeypatch.context() as patch:
        stream = io.TextIOWrapper(lost, write_through=True)
        patch.setattr(sys, "stderr", stream)
        patch.setattr(sys, "__stderr__", stream)
        status = main(short_command(tasks, tmp_path / "runs")[3:])
    assert status == 0
    assert len(list((tmp_path / "runs").glob("records/*/*/*.json"))) == 2


@pytest.mark.slow
def test_a_command_that_outlives_its_terminal_goes_on(tasks: Path, tmp_path: Path) -> None:
    """As under nohup: its messages are lost, its runs are not."""
    results = tmp_path / "runs"
    line = short_command(tasks, results)
    reader, writer = os.pipe()
    with running(line, stdout=subprocess.DEVNULL, stderr=writer) as process:
        os.close(writer)
        os.close(reader)
        process.wait(PATIENCE)
    assert process.returncode == 0
    assert len(list(results.glob("records/*/*/*.json"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_whose_command_has_ended_keep_their_states(number: signal.Signals, tasks: Path, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    quiet = subprocess.DEVNULL
    line = command(tasks, results, "--jobs", "2")
    with running(line, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        until(lambda: len(states(results)) == 2)
        process.send_signal(number)
        process.wait(PATIENCE)
    until(lambda: not list(results.glob("claims/*.json")))
    assert_given_back(results, 2)
    logs = [path.read_text() for path in results.glob("logs/*.jsonl")]
    assert all('"stopped"' in log and '"failed"' not in log for log in logs)


@pytest.mark.parametrize("number", [signal.SIGTERM, rarely(signal.SIGHUP)])
def test_a_worker_that_is_signalled_or_whose_command_has_ended_keeps_its_state(
    number: signal.Signals, tasks: Path, tmp_path: Path
) -> None:
    results = tmp_path / "runs"
    selection = Selection(suite="quick", checkpoints=["mini.acdc_s90"], modes=["full"])
    (both,) = prepare(Request(selection, tasks_dirs=[tasks], data_dir=tasks, results=results)).plan.groups
    options = RunOptions(results, data_dir=tasks, checkpoint_seconds=0.001)
    command = [sys.executable, "-m", "sparsebench.runs.executors.worker"]
    with contextlib.ExitStack() as stack:
        signalled, left = (
            stack.enter_context(running(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)) for _ in range(2)
        )
        for worker, spec in zip((signalled, left), both.runs, strict=True):
            assert worker.stdin is not None
            worker.stdin.write(encode_job(both.model_copy(update={"runs": (spec,)}), options, wait=True) + "\n")
            worker.stdin.flush()
        until(lambda: len(states(results)) == 2)
        assert left.stdin is not None
        left.stdin.close()  # as the system does when a command ends, however it does
        left.wait(PATIENCE)
        signalled.send_signal(number)  # its input stays open
        signalled.wait(PATIENCE)
    assert signalled.returncode == -number, "its command sees that it may try the run again"
    assert_given_back(results, 2)
    logs = [path.read_text() for path in results.glob("logs/*.jsonl")]
    assert all('"stopped"' in log and '"failed"' not in log for log in logs)
