"""Runs that the disk fails for a while, that are stopped, that the device's memory doesn't take; and what they log."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import sparsebench
from sparsebench.common import interruption
from sparsebench.common.retry import LONGEST_PAUSE, is_infrastructure, pause_before
from sparsebench.runs import runner, session
from sparsebench.runs.logs import loggers
from sparsebench.schema import InputError, RunError, RunRecord, UnknownNameError
from sparsebench.store import Store
from sparsebench.transfer.finetune import training
from tasks_quick import quick_suite


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    interruption.clear()
    yield
    interruption.clear()


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return quick_suite(tmp_path / "tasks")


def run(tasks: Path, results: Path, **options: Any) -> Any:
    return sparsebench.run(
        checkpoint="mini.acdc_s90", suite="quick", results=results, tasks_dirs=[tasks], data_dir=tasks,
        cache_dir=results.parent / "cache", **options,
    )  # fmt: skip


def events(results: Path) -> list[dict[str, Any]]:
    (log,) = (results / "logs").glob("*.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


def flaky(monkeypatch: pytest.MonkeyPatch, times: int, error: Exception) -> None:
    """Let opening a task fail some times, after the plan is made."""
    original, left = session.open_task, times

    def open_task(*arguments: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise error
        return original(*arguments)

    monkeypatch.setattr(session, "open_task", open_task)
    monkeypatch.setattr(runner, "pause_before", lambda attempt, first: 0.0)


def test_a_hiccup_of_the_file_system_is_tried_again(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky(monkeypatch, 2, OSError(errno.ESTALE, "Stale file handle"))
    table = run(tasks, tmp_path / "runs", mode="full")
    assert list(table["status"]) == ["ok"]
    log = events(tmp_path / "runs")
    assert [line["attempt"] for line in log if line["event"] == "retry"] == [1, 2]
    assert "Stale file handle" in next(line["error"] for line in log if line["event"] == "retry")


@pytest.mark.parametrize(
    ("error", "times", "options", "tried"),
    [
        (OSError(errno.EIO, "Input/output error"), 9, {}, 2),
        (OSError(errno.EIO, "Input/output error"), 9, {"retries": 0}, 0),
        (ValueError("a mistake of the code's own"), 1, {}, 0),
        (FileNotFoundError(errno.ENOENT, "No such file"), 1, {}, 0),
    ],
)
def test_what_keeps_failing_or_is_the_codes_own_becomes_a_failure(
    error: Exception, times: int, options: dict[str, Any], tried: int, tasks: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    flaky(monkeypatch, times, error)
    table = run(tasks, tmp_path / "runs", mode="full", **options)
    assert list(table["status"]) == ["failed"]
    log = events(tmp_path / "runs")
    assert sum(line["event"] == "retry" for line in log) == tried
    assert log[-1]["event"] == "failed"
    assert type(error).__name__ in log[-1]["traceback"]


def test_a_record_is_written_again_after_a_hiccup(tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flaky(monkeypatch, 0, ValueError())
    original, left = Store.write, 1

    def write(self: Store, *arguments: Any) -> RunRecord:
        nonlocal left
        if left:
            left -= 1
            raise RunError("can't write", "free space") from OSError(errno.ETIMEDOUT, "Connection timed out")
        return original(self, *arguments)

    monkeypatch.setattr(Store, "write", write)
    assert list(run(tasks, tmp_path / "runs", mode="full")["status"]) == ["ok"]


def test_what_counts_as_infrastructure() -> None:
    stale = OSError(errno.ESTALE, "Stale")
    wrapped = RunError("can't read", "try again")
    wrapped.__cause__ = stale
    assert is_infrastructure(stale)
    assert is_infrastructure(wrapped)
    assert not is_infrastructure(OSError(errno.ENOSPC, "No space"))
    assert not is_infrastructure(RunError("diverged"))
    assert not is_infrastructure(None)
    assert [pause_before(attempt, 5.0) for attempt in (1, 2, 3)] == [5.0, 10.0, 20.0]
    assert pause_before(50, 5.0) == LONGEST_PAUSE


def test_a_stopped_run_leaves_no_record_and_goes_on_to_the_same_numbers(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(tasks, tmp_path / "other", mode="full")
    original, steps = training._Run._step, 0

    def step(self: Any, batch: Any) -> Any:
        nonlocal steps
        steps += 1
        loss = original(self, batch)
        if steps == 3:
            interruption.request_stop("SIGUSR2")
        return loss

    results = tmp_path / "runs"
    monkeypatch.setattr(training._Run, "_step", step)
    with pytest.raises(interruption.Stopped):
        run(tasks, results, mode="full")
    assert not list(results.rglob("records/**/*.json"))
    assert not list(results.glob("claims/*.json"))
    assert len(list(results.glob("unfinished/*/training.pt"))) == 1
    interruption.clear()
    table = run(tasks, results, mode="full")
    assert table["accuracy"].tolist() == expected["accuracy"].tolist()
    mine, other = (Store(folder) for folder in (results, tmp_path / "other"))
    assert (mine.predictions(mine.read()[0]).logits == other.predictions(other.read()[0]).logits).all()
    assert not list(results.glob("unfinished/*"))
    told = [line["event"] for line in events(results)]
    assert told == ["started", "epoch", "stopped", "started", "epoch", "done"]


def test_running_out_of_device_memory_names_the_batch_to_try(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: Any, batch: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand more")

    monkeypatch.setattr(training._Run, "_step", step)
    run(tasks, tmp_path / "runs", mode="full")
    run(tasks, tmp_path / "runs", mode="full", microbatch=8)
    (record,) = [r for r in Store(tmp_path / "runs").read() if "microbatch" in r.spec.protocol]
    assert record.failure is not None
    assert record.failure.message.startswith("out of device memory: CUDA out of memory. Tried to allocate 2.00 GiB.; 8")
    assert "--microbatch 4" in record.failure.message
    assert record.spec.protocol["microbatch"] == 8


def test_the_log_of_a_run_says_what_and_where_and_how_it_went(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    run(tasks, tmp_path / "runs", mode="full")
    log = events(tmp_path / "runs")
    assert [line["event"] for line in log] == ["started", "epoch", "epoch", "done"]
    assert log[0]["run"]["checkpoint"] == "mini.acdc_s90"
    assert log[0]["slurm_job_id"] == "77"
    assert log[0]["pid"] > 0
    assert [line["epoch"] for line in log[1:3]] == [1, 2]
    assert all(line["loss"] > 0 and line["lr"] > 0 for line in log[1:3])
    assert log[-1]["top1"] == Store(tmp_path / "runs").read()[0].scores.top1  # type: ignore[union-attr]


def test_a_log_that_cant_be_written_costs_nothing_else(tasks: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "logs").write_text("in the way")
    assert list(run(tasks, tmp_path / "runs", mode="full")["status"]) == ["ok"]


class Recorder:
    """A logger that keeps what it is told, or fails."""

    told: list[Any]

    def __init__(self, results: Path, spec: Any, fails: str = "") -> None:
        self.told, self.fails = [spec.seed], fails

    def scalars(self, step: int, values: Any) -> None:
        if self.fails == "scalars":
            raise ConnectionError("no server")
        self.told.append((step, dict(values)))

    def end(self, *, failed: bool) -> None:
        self.told.append(failed)


def test_a_logger_is_told_of_epochs_and_of_the_end(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Recorder] = []

    def make(*arguments: Any) -> Recorder:
        made.append(Recorder(*arguments))
        return made[-1]

    monkeypatch.setitem(loggers.LOGGERS, "json", make)  # a package that is there
    run(tasks, tmp_path / "runs", mode="full", logger="json")
    assert [entry[0] for entry in made[0].told[1:-1]] == [1, 2, 0]
    assert "final/top1" in made[0].told[-2][1]
    assert made[0].told[-1] is False


def test_a_logger_that_fails_costs_the_run_nothing(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loggers.LOGGERS, "json", lambda results, spec: Recorder(results, spec, "scalars"))
    assert list(run(tasks, tmp_path / "runs", mode="full", logger="json")["status"]) == ["ok"]
    assert "no server" in next(e["error"] for e in events(tmp_path / "runs") if e["event"] == "logger failed")


def test_an_unknown_or_missing_logger_is_found_before_anything_runs(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownNameError, match="tensorbord"):
        run(tasks, tmp_path / "runs", logger="tensorbord")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="isn't installed"):
        run(tasks, tmp_path / "runs", logger="wandb")
    assert not (tmp_path / "runs").exists()


def test_tensorboard_gets_each_epochs_loss(tasks: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tasks, tmp_path / "runs", mode="full", logger="tensorboard")
    (folder,) = (tmp_path / "runs" / "tensorboard").iterdir()
    found = EventAccumulator(str(folder)).Reload()
    losses = [line["loss"] for line in events(tmp_path / "runs") if line["event"] == "epoch"]
    assert [scalar.value for scalar in found.Scalars("loss")] == pytest.approx(losses)


def test_wandb_works_offline(tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run(tasks, tmp_path / "runs", mode="full", logger="wandb")
    assert "logger failed" not in [line["event"] for line in events(tmp_path / "runs")]
    assert list((tmp_path / "runs" / "wandb").rglob("*.wandb"))
