"""Cancelling: what Slurm is asked, and what is noted when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_up_queue import queue, states, submit

from sparsebench.cli import main
from sparsebench.runs.executors import cancelling
from sparsebench.runs.status import look_over
from sparsebench.schema import RunSpec
from sparsebench.store.jobs import Submission, read_submissions

SECOND = "20260102T030406Z-bbbb0000"


def asked(fake: Path) -> list[str]:
    return (fake / "cancelled").read_text().splitlines()


def call(made: Submission, *jobs: str) -> str:
    return " ".join([f"--user={os.getuid()} --name={made.job_name}", *jobs])


def noted(results: Path) -> list[str]:
    return [submission.state for submission in read_submissions(results)]


def test_cancel_takes_what_was_submitted_here_and_nothing_else(
    fake: Path, runs: list[RunSpec], results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = submit(results, runs[:3]), submit(results, runs[3:], "80", SECOND)
    queue(fake, first, "70_1", "70_2")
    queue(fake, second, "80_0")
    (fake / "queue").open("a").write("90_0|somebody-elses|RUNNING|\n70_0|somebody-elses|RUNNING|\n")
    assert main(["cancel", second.submission, "--results", str(results)]) == 0
    assert asked(fake) == [call(second, "80_0")]
    assert noted(results) == ["submitted", "cancelled"]
    assert main(["cancel", "--results", str(results)]) == 0
    assert asked(fake)[1:] == [call(first, "70_1", "70_2"), call(second, "80_0")], "it still held a job"
    assert f"cancelled {first.submission}: 2 jobs" in capsys.readouterr().out
    (fake / "queue").write_text("")
    assert main(["cancel", "--results", str(results)]) == 0
    assert "is cancelled already" in capsys.readouterr().out
    assert states(look_over(results)) == {"missing": 6}


def test_what_slurm_refuses_is_not_cancelled_and_the_same_command_cancels_it(
    fake: Path, runs: list[RunSpec], results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = submit(results, runs)
    queue(fake, made, "70_0")
    (fake / "refuse").touch()
    assert main(["cancel", "--results", str(results)]) == 1
    assert "scancel" in capsys.readouterr().err
    assert noted(results) == ["submitted"]
    assert states(look_over(results))["queued"] == 1
    (fake / "refuse").unlink()
    assert main(["cancel", "--results", str(results)]) == 0
    assert (noted(results), asked(fake)) == (["cancelled"], [call(made, "70_0")] * 2)


@pytest.mark.parametrize("moment", ["cancel_jobs", "write_submission"])
def test_an_interrupted_cancel_is_finished_by_the_same_command(
    moment: str, fake: Path, runs: list[RunSpec], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = submit(results, runs)
    queue(fake, made, "70_0", "70_1")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cancelling, moment, interrupt)
        with pytest.raises(KeyboardInterrupt):
            cancelling.cancel(results)
    assert noted(results) == ["submitted"]
    (done,) = cancelling.cancel(results)
    assert (done.submission, done.jobs) == (made.submission, 2)
    assert noted(results) == ["cancelled"]
    assert asked(fake)[-1] == call(made, "70_0", "70_1")


@pytest.mark.parametrize("queued", ["", "70_0|{}|COMPLETING|array 0\n", "70_0|somebody-elses|RUNNING|\n"])
def test_jobs_that_end_before_slurm_is_asked_count_as_cancelled(
    queued: str, fake: Path, runs: list[RunSpec], results: Path
) -> None:
    made = submit(results, runs)
    queue(fake, made, "70_0")
    (fake / "later").write_text(queued.format(made.job_name))
    (fake / "scancel").write_text(f"#!/bin/sh\ncp {fake}/later {fake}/queue\necho Invalid job id >&2\nexit 1\n")
    assert main(["cancel", "--results", str(results)]) == 0
    assert noted(results) == ["cancelled"]


def test_cancel_says_what_is_wrong(
    fake: Path,
    runs: list[RunSpec],
    results: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(["cancel", "--results", str(results)]) == 2
    assert "nothing was submitted" in capsys.readouterr().err
    made = submit(results, runs)
    assert main(["cancel", made.submission[:-1] + "1", "--results", str(results)]) == 2
    assert "did you mean" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "")
    assert main(["cancel", "--results", str(results)]) == 2
    assert "no squeue here" in capsys.readouterr().err
