"""Commands whose runs are trained by two processes, which are killed and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_quick import quick_suite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc"),
]

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
PATIENCE = 300.0
STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return quick_suite(tmp_path / "tasks")


@pytest.fixture(autouse=True)
def none_is_left() -> Iterator[None]:
    """End the commands of a test that has failed: their processes end with them."""
    yield
    while STARTED:
        STARTED.pop().kill()


def start(tasks: Path, results: Path, *more: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "sparsebench", "run", "--suite", "quick", "--tasks-dir", str(tasks)]
    line += ["--data", str(tasks), "--checkpoint", "mini.acdc_s90", "--mode", "full", "--results", str(results)]
    line += ["--no-reference", "--processes-per-run", "2", "--checkpoint-every", "0.001", *more]
    STARTED.append(subprocess.Popen(line, env=ENV, text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL))
    return STARTED[-1]


def workers(results: Path) -> list[int]:
    """Return the processes that train a run of a results folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        mine = any(word.startswith(str(results)) for word in words)
        if mine and "sparsebench.runs.processes.worker" in words and "sparsebench.runs.processes.launcher" not in words:
            found.append(int(path.parent.name))
    return found


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "nothing has happened"
        time.sleep(0.05)


def states(results: Path) -> list[Path]:
    return list(results.glob("unfinished/*/training.pt"))


def restarts(results: Path) -> int:
    """Return how often the processes of the run were started anew, as its state says."""
    (path,) = results.glob("unfinished/*/processes.json")
    return int(json.loads(path.read_text())["value"]["restarts"])


def record(results: Path) -> dict[str, Any]:
    (path,) = results.glob("records/*/*/*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def end(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=PATIENCE)
    return said


def test_killed_and_stopped_a_run_ends_in_the_same_numbers(tasks: Path, tmp_path: Path) -> None:
    expected, results = tmp_path / "expected", tmp_path / "runs"
    epochs = ("--set", "epochs=20", "--retries", "5")
    assert end(start(tasks, expected, *epochs)) is not None
    process = start(tasks, results, *epochs)
    until(lambda: states(results))
    os.kill(workers(results)[-1], signal.SIGKILL)
    until(lambda: not workers(results))
    until(lambda: restarts(results) == 1)
    process.send_signal(signal.SIGINT)
    end(process)
    assert process.returncode == 130
    assert workers(results) == []
    assert not list(results.glob("claims/*.json"))
    assert len(states(results)) == 1
    process = start(tasks, results, *epochs)
    end(process)
    assert process.returncode == 0
    one, other = record(expected), record(results)
    assert other["scores"] == one["scores"]
    assert other["processes"]["restarts"] >= 1
    assert (one["processes"]["start"], one["processes"]["end"], one["processes"]["restarts"]) == (2, 2, 0)
    assert one["mask_proof"] == other["mask_proof"]
    assert not list(results.glob("unfinished/*"))


def test_where_it_may_a_run_goes_on_with_those_that_are_left(tasks: Path, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    process = start(tasks, results, "--set", "epochs=20", "parallel.when_killed=continue")
    until(lambda: states(results))
    os.kill(workers(results)[0], signal.SIGKILL)
    end(process)
    found = record(results)
    assert (process.returncode, found["status"]) == (0, "ok")
    assert (found["processes"]["start"], found["processes"]["end"], found["processes"]["restarts"]) == (2, 1, 1)
    assert found["spec"]["protocol"]["parallel"]["when_killed"] == "continue"


def test_the_processes_of_a_command_that_is_killed_keep_their_state(tasks: Path, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    process = start(tasks, results, "--set", "epochs=100000")
    until(lambda: states(results))
    process.kill()
    process.wait()
    until(lambda: not workers(results))
    assert len(states(results)) == 1


def test_a_training_that_diverges_is_a_failure_as_of_one_process(tasks: Path, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    process = start(tasks, results, "--set", "lr=1e12")
    end(process)
    found = record(results)
    assert process.returncode == 1
    assert found["failure"]["type"] == "RunError"
    assert "the training loss is" in found["failure"]["message"]
    assert "try a lower learning rate" in found["failure"]["message"]
    assert workers(results) == []
