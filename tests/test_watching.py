"""Status and cancel: records, claims and a queue that is made up."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from executors.made_up import group, record
from sparsebench.cli import main
from sparsebench.schema import Failure, PlanFile, RunRecord, RunSpec
from sparsebench.store import Claims, Store
from sparsebench.store.jobs import Element, JobArray, Submission, read_submissions, write_submission
from sparsebench.store.plans import write_plan
from sparsebench.watching import Overview, look_over

SQUEUE = """#!/bin/sh
[ -e {folder}/deaf ] && {{ echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }}
cat {folder}/queue
"""
SCANCEL = '#!/bin/sh\necho "$@" >> {folder}/cancelled\n[ ! -e {folder}/refuse ]\n'


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "fake"
    folder.mkdir()
    for name, text in {"squeue": SQUEUE, "scancel": SCANCEL}.items():
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    (folder / "queue").write_text("")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[RunSpec]:
    """A plan of six runs, on disk."""
    planned = group(seeds=6)
    write_plan(
        Store(tmp_path / "runs").plans_dir, PlanFile(command="", created="2026-01-02T03:04:05Z", groups=(planned,))
    )
    return list(planned.runs)


def submit(results: Path, runs: list[RunSpec], job: str = "70", name: str = "20260102T030405Z-aaaa0000") -> Submission:
    elements = tuple(
        Element(job_id=f"{job}_{k}", runs=(run.run_id,), log=f"jobs/{name}/{job}_{k}_0_log.out")
        for k, run in enumerate(runs)
    )
    made = Submission(submission=name, plan="p" * 16, created="2026-01-02T03:04:05+00:00", state="submitted",
                      arrays=(JobArray(job_id=job, elements=elements),))  # fmt: skip
    write_submission(results, made)
    return made


def queue(fake: Path, made: Submission, *jobs: str, state: str = "PENDING") -> None:
    with (fake / "queue").open("a") as file:
        file.writelines(f"{job}|{made.job_name}|{state}|array 0\n" for job in jobs)


def diverged(spec: RunSpec) -> RunRecord:
    failure = Failure(type="RunError", message="diverged")
    return record(spec, status="failed").model_copy(update={"failure": failure})


def states(overview: Overview) -> dict[str, int]:
    return {state: count for state, count in overview.counts.items() if count}


def test_every_state_a_run_can_be_in(fake: Path, runs: list[RunSpec], tmp_path: Path) -> None:
    results = tmp_path / "runs"
    store = Store(results)
    made = submit(results, runs[:5])
    queue(fake, made, "70_3")  # the others' jobs have ended
    store.write(record(runs[0]))
    failed = record(runs[1], status="failed").model_copy(
        update={"failure": Failure(type="RunError", message="diverged")}
    )
    store.write_failure(failed)
    with Claims(results) as claims:
        assert claims.take(runs[2].run_id) is not None
        overview = look_over(results)
    assert states(overview) == {"done": 1, "failed": 1, "running": 1, "queued": 1, "lost": 1, "missing": 1}
    assert [(t.state, t.reason) for t in overview.trouble] == [
        ("failed", "RunError: diverged"),
        ("lost", "job 70_4 is no longer in the queue and left no record"),
    ]
    assert overview.trouble[1].log == results / "jobs" / made.submission / "70_4_0_log.out"
    assert overview.seconds_left == pytest.approx(20, abs=3)  # two runs of ten seconds, one at a time


def test_a_failed_run_that_is_queued_again_is_queued(fake: Path, runs: list[RunSpec], tmp_path: Path) -> None:
    results = tmp_path / "runs"
    Store(results).write_failure(record(runs[0], status="failed"))
    queue(fake, submit(results, runs[:1]), "70_0", state="RUNNING")
    assert states(look_over(results)) == {"queued": 1, "missing": 5}


def test_an_id_that_slurm_gave_out_again_is_not_ours(fake: Path, runs: list[RunSpec], tmp_path: Path) -> None:
    submit(tmp_path / "runs", runs[:1])
    (fake / "queue").write_text("70_0|somebody-elses|RUNNING|array 0\n")
    assert states(look_over(tmp_path / "runs")) == {"lost": 1, "missing": 5}
    assert main(["cancel", "--results", str(tmp_path / "runs")]) == 0
    assert not (fake / "cancelled").exists()


def test_a_dead_process_loses_its_run(fake: Path, runs: list[RunSpec], tmp_path: Path) -> None:
    results = tmp_path / "runs"
    held = Claims(results).take(runs[0].run_id)
    assert held is not None
    claim = json.loads(held.path.read_text())
    claim["owner"] |= {"pid": 2**22 + 5}
    held.path.write_text(json.dumps(claim))
    overview = look_over(results)
    assert states(overview) == {"lost": 1, "missing": 5}
    assert "is gone" in overview.trouble[0].reason


def test_a_queue_that_cannot_be_asked_is_said_and_nothing_is_lost(
    fake: Path, runs: list[RunSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(tmp_path / "runs", runs)
    (fake / "deaf").touch()
    assert main(["status", "--results", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert "0 done, 0 failed, 6 missing of 6 runs" in out
    assert "note: Slurm's queue is not known now" in out
    monkeypatch.setenv("PATH", "")
    assert main(["status", "--results", str(tmp_path / "runs")]) == 0
    assert "no squeue here" in capsys.readouterr().out


def test_status_names_errors_and_logs_and_ends_with_1(
    fake: Path, runs: list[RunSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "runs"
    failed = record(runs[1], status="failed").model_copy(
        update={"failure": Failure(type="RunError", message="diverged")}
    )
    Store(results).write_failure(failed)
    log = results / "logs" / f"{runs[1].run_id}.jsonl"
    log.parent.mkdir()
    log.write_text("{}\n")
    assert main(["status", "--results", str(results)]) == 1
    out = capsys.readouterr().out
    assert "failed: mini.acdc_s90 · digits · linear · seed 1: RunError: diverged" in out
    assert f"log: {log}" in out


def in_background(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_watching_ends_when_nothing_runs_any_more(
    fake: Path, runs: list[RunSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "runs"
    queue(fake, submit(results, runs[:1]), "70_0")

    def finish() -> None:
        time.sleep(0.5)
        Store(results).write(record(runs[0]))
        (fake / "queue").write_text("")

    thread = in_background(finish)
    assert main(["status", "--watch", "--interval", "0.1", "--results", str(results)]) == 0
    thread.join()
    out = capsys.readouterr().out
    assert "0 done, 1 queued, 0 failed, 5 missing of 6 runs" in out
    assert "1 done, 0 failed, 5 missing of 6 runs" in out
    assert "\x1b" not in out, "plain lines where there is no terminal"


def test_cancel_takes_what_was_submitted_here_and_nothing_else(
    fake: Path, runs: list[RunSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "runs"
    first = submit(results, runs[:3], "70", "20260102T030405Z-aaaa0000")
    second = submit(results, runs[3:], "80", "20260102T030406Z-bbbb0000")
    queue(fake, first, "70_1", "70_2")
    queue(fake, second, "80_0")
    (fake / "queue").open("a").write("90_0|somebody-elses|RUNNING|\n")
    assert main(["cancel", second.submission, "--results", str(results)]) == 0
    assert (fake / "cancelled").read_text() == "80_0\n"
    assert [s.state for s in read_submissions(results)] == ["submitted", "cancelled"]
    assert main(["cancel", "--results", str(results)]) == 0
    assert (fake / "cancelled").read_text() == "80_0\n80_0\n70_1 70_2\n" or (
        fake / "cancelled"
    ).read_text() == "80_0\n70_1 70_2\n80_0\n"
    assert "cancelled 20260102T030405Z-aaaa0000: 2 jobs" in capsys.readouterr().out
    (fake / "queue").write_text("")
    assert main(["cancel", "--results", str(results)]) == 0
    assert "is cancelled already" in capsys.readouterr().out
    assert states(look_over(results)) == {"missing": 6}


def test_cancel_says_what_is_wrong(
    fake: Path, runs: list[RunSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "runs"
    assert main(["cancel", "--results", str(results)]) == 2
    assert "nothing was submitted" in capsys.readouterr().err
    made = submit(results, runs)
    queue(fake, made, "70_0")
    assert main(["cancel", made.submission[:-1] + "1", "--results", str(results)]) == 2
    assert "did you mean" in capsys.readouterr().err
    (fake / "refuse").touch()
    assert main(["cancel", "--results", str(results)]) == 1
    assert "scancel" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "")
    assert main(["cancel", "--results", str(results)]) == 2
    assert "no squeue here" in capsys.readouterr().err
