"""Plans through a real Slurm: whole, interrupted in every way, and beside each other."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from real_slurm import Slurm, wait_until

import sparsebench
from sparsebench.api import Request, execute, prepare
from sparsebench.cli import main
from sparsebench.registry.selection import Selection
from sparsebench.runs.executors.cancelling import cancel_jobs
from sparsebench.runs.executors.cluster import read_cluster
from sparsebench.runs.executors.queued import ask
from sparsebench.runs.status import look_over
from sparsebench.schema import RunRecord
from sparsebench.store import Store, frame
from sparsebench.store.jobs import read_submissions
from tasks_quick import image_folder, quick_suite

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]

NUMBERS = ["run_id", "top1", "mean_per_class", "train_loss"]
LONG = "quick-full: {{mode: full, lr: 0.01, epochs: {epochs}, batch_size: 16, augment: task}}\n"
EACH = {"bundle_minutes": 0, "time_minutes": 20}  # every part of a group is a job of its own


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_suite(tmp_path_factory.mktemp("quick"))


def with_epochs(root: Path, epochs: int) -> Path:
    """Write the quick suite, with full finetuning of so many epochs: some ten a second."""
    path = quick_suite(root) / "protocols.yaml"
    lines = [line for line in path.read_text().splitlines() if "quick-full" not in line]
    path.write_text("\n".join([*lines, LONG.format(epochs=epochs)]))
    return root


@pytest.fixture(scope="module")
def long_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_epochs(tmp_path_factory.mktemp("long"), 50)


@pytest.fixture(scope="module")
def undisturbed(long_tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The records of the long suite, run here."""
    results = tmp_path_factory.mktemp("undisturbed")
    run(long_tasks, results, mode="full")
    return Store(results)


def run(tasks: Path, results: Path, **more: object) -> pd.DataFrame:
    options = {"suite": "quick", "tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90"} | more
    return sparsebench.run(results=results, **options)  # type: ignore[arg-type]


def on_slurm(tasks: Path, results: Path, cluster: dict[str, object] = EACH, **more: object) -> pd.DataFrame:
    return run(tasks, results, executor="slurm", cluster=cluster, **more)


def line(tasks: Path, results: Path, *more: str) -> list[str]:
    where = ["--tasks-dir", str(tasks), "--results", str(results)]
    how = ["--no-reference", "--executor", "slurm", "--bundle-minutes", "0", "--time-minutes", "20"]
    return ["run", "--suite", "quick", "--checkpoint", "mini.acdc_s90", *where, *how, *more]


def command(arguments: Sequence[str], **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sparsebench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,  # type: ignore[call-overload]
    )


def logs(results: Path) -> str:
    return "".join(path.read_text() for path in sorted(results.glob("jobs/*/*_log.out")))


def starts(results: Path) -> list[str]:
    """Return the ids of the runs that jobs started, once a start."""
    return re.findall(r"run ([0-9a-f]{16}-[0-9a-f]{8}) started", logs(results))


def same(one: Store, other: Store) -> None:
    """Both hold the same runs with the same numbers to the last bit."""
    first, second = one.read(), other.read()
    assert [r.run_id for r in first] == [r.run_id for r in second]
    for a, b in zip(first, second, strict=True):
        assert (a.status, a.scores, a.mask_proof) == (b.status, b.scores, b.mask_proof)
        np.testing.assert_array_equal(one.predictions(a).logits, other.predictions(b).logits)


def records_of(results: Path) -> list[RunRecord]:
    return Store(results).read()


@pytest.mark.usefixtures("without_figures")
def test_a_plan_gives_the_same_leaderboard_here_on_two_workers_and_through_arrays(tasks: Path, tmp_path: Path) -> None:
    plan = {"checkpoint": ["mini.acdc_s90", "mini.dense"]}
    run(tasks, tmp_path / "inline", **plan)
    run(tasks, tmp_path / "local", jobs=2, **plan)
    on_slurm(tasks, tmp_path / "slurm", {**EACH, "array_size": 3, "max_parallel": 2}, **plan)
    boards = []
    for how in ("inline", "local", "slurm"):
        assert main(["report", "--results", str(tmp_path / how), "--out", str(tmp_path / "report" / how)]) == 0
        boards.append((tmp_path / "report" / how / "leaderboard.csv").read_bytes())
    assert boards[0] == boards[1] == boards[2]
    assert boards[0].count(b"\n") > 2
    same(Store(tmp_path / "inline"), Store(tmp_path / "slurm"))
    (submission,) = read_submissions(tmp_path / "slurm")
    assert submission.state == "submitted"
    assert [len(array.elements) for array in submission.arrays] == [3, 1]
    assert sorted(run for e in submission.elements for run in e.runs) == sorted(starts(tmp_path / "slurm"))
    for element in submission.elements:
        assert "Job completed successfully" in (tmp_path / "slurm" / element.log).read_text()


OWN_PROBE = """
import numpy as np

from sparsebench.extensions import Probe


def fit(data, protocol, seeds, *, device="cpu", progress=None):
    from sparsebench.transfer.probes.data import Fitted

    x, y = np.concatenate(data.x.blocks), data.y
    means = np.stack([x[y == label].mean(0) for label in range(data.num_classes)])
    logits = data.x_test @ means.T - (means**2).sum(1) / 2
    return [Fitted(logits.astype(np.float32), seconds=0.0, n_train=len(y)) for _ in seeds]


NEAREST = Probe(name="nearest", summary="nearest class mean", fit=fit, seeded=False)
"""


def test_a_probe_in_a_users_file_is_fitted_by_jobs(tasks: Path, tmp_path: Path) -> None:
    own = tmp_path / "nearest.py"
    own.write_text(OWN_PROBE)
    run(tasks, tmp_path / "inline", mode="linear", probe=str(own))
    on_slurm(tasks, tmp_path / "slurm", mode="linear", probe=str(own))
    same(Store(tmp_path / "inline"), Store(tmp_path / "slurm"))
    assert {record.spec.probe.split("@")[0] for record in records_of(tmp_path / "slurm")} == {"nearest"}


def test_an_embedded_plan_goes_through_an_array(tmp_path: Path) -> None:
    arguments = ["--method", "acdc", "--sparsity", "0.9", "--mode", "linear", "--task", "digits", "glyphs"]
    arguments += ["--no-reference", "--results"]
    assert main(["run", *arguments, str(tmp_path / "here")]) == 0
    profile = tmp_path / "cluster.yaml"
    profile.write_text("partition: main\ntime_minutes: 20\nbundle_minutes: 0\nsetup: ['export MARK=here']\n")
    there = [*arguments, str(tmp_path / "there"), "--executor", "slurm", "--cluster", str(profile)]
    assert main(["run", *there]) == 0
    same(Store(tmp_path / "here"), Store(tmp_path / "there"))
    ((array,),) = [submission.arrays for submission in read_submissions(tmp_path / "there")]
    assert len(array.elements) == 2  # one per task
    assert main(["run", *there]) == 0  # nothing is left to do
    assert len(read_submissions(tmp_path / "there")) == 1


def test_a_signalled_job_queues_again_and_goes_on_where_it_was_to_the_same_numbers(
    slurm: Slurm, long_tasks: Path, undisturbed: Store, tmp_path: Path
) -> None:
    results = tmp_path / "runs"
    on_slurm(long_tasks, results, mode="full", wait=False)
    wait_until(lambda: starts(results), "the run to start")
    (job,) = slurm.jobs()
    slurm.run("scancel", "--signal=USR2", job)
    wait_until(lambda: list(results.glob("unfinished/*")), "the state of the run")
    wait_until(lambda: len(starts(results)) > 1, "the run to start again")
    wait_until(lambda: records_of(results), "the record")
    same(undisturbed, Store(results))
    assert f"Requeued job {job}" in logs(results)
    wait_until(lambda: not list(results.glob("unfinished/*")), "the state to be removed")


def test_a_node_set_down_in_the_middle_loses_nothing_and_its_job_is_queued(
    slurm: Slurm, long_tasks: Path, undisturbed: Store, tmp_path: Path
) -> None:
    results = tmp_path / "runs"
    on_slurm(long_tasks, results, mode=["full"], wait=False)
    wait_until(lambda: starts(results), "the run to start")
    slurm.down()
    wait_until(lambda: list(slurm.jobs().values()) == ["PENDING"], "the job to queue again")
    assert states(results) == {"queued": 1}
    assert not records_of(results)
    slurm.up()
    wait_until(lambda: records_of(results), "the record")
    same(undisturbed, Store(results))


@pytest.mark.slow
def test_a_job_whose_time_limit_is_near_is_signalled_and_its_run_ends_with_the_same_numbers(tmp_path: Path) -> None:
    run(with_epochs(tmp_path / "pace", 60), tmp_path / "paced", mode="full")
    (paced,) = records_of(tmp_path / "paced")
    assert paced.seconds is not None
    # long enough for the signal to come, on a quick machine as on a loaded one
    results, longer = tmp_path / "runs", with_epochs(tmp_path / "tasks", round(90 / (paced.seconds / 60)))
    cluster = {"time_minutes": 2, "signal_seconds": 100}  # Slurm looks every half minute: after 20 to 50 s
    on_slurm(longer, results, cluster, mode="full", wait=False)
    run(longer, tmp_path / "here", mode="full")  # meanwhile
    table = on_slurm(longer, results, cluster, mode="full")
    assert table["status"].tolist() == ["ok"]
    assert "SIGUSR2: stopping" in logs(results)
    assert "Requeued job" in logs(results)
    same(Store(tmp_path / "here"), Store(results))


def test_a_job_that_may_not_queue_again_is_lost_said_so_and_run_again(
    slurm: Slurm, long_tasks: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "runs"
    arguments = line(long_tasks, results, "--mode", "full")
    profile = tmp_path / "cluster.yaml"
    profile.write_text("{signal_seconds: 2, max_timeouts: 0}\n")
    waiting = command([*arguments, "--cluster", str(profile)])
    wait_until(lambda: starts(results), "the run to start")
    (job,) = slurm.jobs()
    slurm.run("scancel", "--signal=KILL", job)
    out, _ = waiting.communicate(timeout=120)
    assert waiting.returncode == 1, out
    assert "1 of 1 runs have no record" in out
    assert main(arguments) == 0
    assert [record.status for record in records_of(results)] == ["ok"]
    assert "1 runs: 0 done before, 1 to do" in capfd.readouterr().err


def test_a_run_that_fails_leaves_the_others_alone(tasks: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tasks"
    shutil.copytree(tasks, copy)
    image_folder(copy / "shades", classes=2)
    (copy / "shades.yaml").write_text("loader: imagefolder\nroot: shades\n")
    request = Request(
        Selection(suite="quick", checkpoints=["mini.acdc_s90"], tasks=["colours", "shades"], modes=["linear"]),
        tasks_dirs=[copy],
        results=tmp_path / "runs",
        executor="slurm",
        cluster=read_cluster(None, **EACH),
    )
    prepared = prepare(request)
    shutil.rmtree(copy / "shades")
    table = frame(execute(prepared)).set_index(["task", "seed"])
    assert table["status"].to_dict() == {
        ("colours", 0): "ok",
        ("colours", 1): "ok",
        ("shades", 0): "failed",
        ("shades", 1): "failed",
    }
    assert "shades" in table.loc[("shades", 0), "error"]


SBATCH = """#!/bin/sh
{sbatch} "$@"
status=$?
case "$*" in *--test-only*) ;; *) kill -9 $PPID ;; esac
exit $status
"""


def test_the_jobs_need_nothing_of_a_submitting_process_that_was_killed(tasks: Path, tmp_path: Path) -> None:
    results, tools = tmp_path / "runs", tmp_path / "bin"
    tools.mkdir()
    (tools / "sbatch").write_text(SBATCH.format(sbatch=shutil.which("sbatch")))
    (tools / "sbatch").chmod(0o755)
    killed = command(line(tasks, results), env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"})
    out, _ = killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL, out
    (written,) = read_submissions(results)
    assert (written.state, written.arrays) == ("submitting", ())
    assert written.is_abandoned()
    (known,) = ask(results).submissions
    planned = {run["record_key"] for run in planned_runs(results)}
    assert {run for element in known.elements for run in element.runs} == planned
    table = on_slurm(tasks, results)  # finds all runs queued, and waits
    assert (table["status"] == "ok").all()
    assert set(table["record_key"]) == planned
    assert sorted(starts(results)) == sorted(planned)
    (settled,) = read_submissions(results)
    assert (settled.state, settled.arrays) == ("submitted", known.arrays)


def planned_runs(results: Path) -> list[dict[str, object]]:
    plans = [json.loads(path.read_bytes()) for path in results.glob("plans/*.json")]
    return [run for plan in plans for group in plan["groups"] for run in group["runs"]]


def test_a_plan_submitted_twice_at_once_is_run_once(tasks: Path, tmp_path: Path) -> None:
    results = tmp_path / "runs"
    both = [command(line(tasks, results)) for _ in range(2)]
    for process in both:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
    assert sorted(starts(results)) == sorted(run["record_key"] for run in planned_runs(results))
    assert len(list(results.glob("records/*/*/*.json"))) == len(planned_runs(results))


def test_an_interrupt_ends_the_waiting_alone_and_cancel_takes_what_is_queued(
    slurm: Slurm, tasks: Path, tmp_path: Path
) -> None:
    results = tmp_path / "runs"
    waiting = command(line(tasks, results, "--sbatch", "begin=now+300"))
    with contextlib.ExitStack() as stack:
        stack.callback(waiting.kill)
        wait_until(lambda: any(s.state == "submitted" for s in read_submissions(results)), "the submission")
        waiting.send_signal(signal.SIGINT)
        out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 130, out
    assert f"sparsebench status --watch --results {results}" in out
    assert f"sparsebench cancel --results {results}" in out
    assert slurm.jobs()
    assert states(results) == {"queued": 3}
    assert main(["cancel", "--results", str(results)]) == 0
    wait_until(lambda: states(results) == {"missing": 3}, "the jobs to leave the queue")


def states(results: Path) -> dict[str, int]:
    return {state: count for state, count in look_over(results).counts.items() if count}


def test_cancel_takes_what_a_submission_has_in_the_queue_and_status_tells_how_it_goes(
    slurm: Slurm, long_tasks: Path, tmp_path: Path
) -> None:
    results = tmp_path / "runs"
    other = slurm.run("sbatch", "--parsable", "--begin=now+300", f"--output={tmp_path}/%j", "--wrap=true").strip()
    on_slurm(long_tasks, results, mode="full", wait=False)
    wait_until(lambda: states(results) == {"running": 1}, "the run to be seen to run")
    assert look_over(results).seconds_left is None, "no run of this mode has ended, so its time is not known"
    (submission,) = read_submissions(results)
    (element,) = submission.elements
    assert main(["cancel", "--results", str(results)]) == 0
    assert [found.state for found in read_submissions(results)] == ["cancelled"]
    while element.job_id in slurm.jobs():  # the job has some time to end
        found = states(results)
        assert element.job_id not in slurm.jobs() or set(found) <= {"running", "queued"}, found
    assert states(results) == {"missing": 1}
    assert list(slurm.jobs()) == [other]
    cancel_jobs([element.job_id, "4711"], submission.job_name)  # what has ended, or never was, is no error
    cancel_jobs([other], submission.job_name)
    assert list(slurm.jobs()) == [other], "another name: an id that was given out again"
    slurm.run("scancel", other)


def test_what_slurm_refuses_is_said_before_anything_is_written(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(tasks, tmp_path / "runs", "--partition", "nowhere")) == 2
    err = capsys.readouterr().err
    assert "Slurm refuses such jobs" in err
    assert "invalid partition" in err.lower()
    assert "--partition=nowhere" in err
    assert not (tmp_path / "runs").exists()
