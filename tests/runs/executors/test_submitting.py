"""What the Slurm executor asks of Slurm and makes of its answers; the commands here only say what they were asked."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import sparsebench
from made_up import group, record
from sparsebench.cli import main
from sparsebench.extensions import ExecutorContext
from sparsebench.runs.executors import make_executor, slurm, submission
from sparsebench.runs.executors.cluster import Cluster
from sparsebench.runs.executors.queued import ask, queued_runs, wait_for_earlier
from sparsebench.runs.executors.squeue import QueuedJob, queued_jobs
from sparsebench.runs.executors.submission import check_slurm, open_submission
from sparsebench.runs.options import RunOptions
from sparsebench.runs.plan import Plan
from sparsebench.runs.runner import Event
from sparsebench.schema import InputError, RunError
from sparsebench.store import Store
from sparsebench.store.jobs import read_submissions, write_submission
from tasks_quick import quick_suite

PLAN = "abcdef0123456789"
SBATCH = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$*" in *--test-only*) cat {folder}/refusal >&2 2>/dev/null && exit 1; exit 0 ;; esac
[ -e {folder}/full ] && {{ echo "sbatch: error: Batch job submission failed: Job violates policy" >&2; exit 1; }}
number=$(ls {folder} | grep -c '^script') || true
cp "$1" {folder}/script$number
echo "Submitted batch job $((70 + number))"
"""
SQUEUE = "#!/bin/sh\n[ -e {folder}/queue ] || {{ echo 'slurm_load_jobs error' >&2; exit 1; }}\ncat {folder}/queue\n"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the commands of Slurm, which note what they are asked, and with what they answer."""
    folder = tmp_path / "fake"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "srun": "#!/bin/sh\n", "scontrol": "#!/bin/sh\n"}.items():
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    (folder / "queue").write_text("")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "_POLL_SECONDS", (0.01, 0.05))
    monkeypatch.setattr(slurm, "_LOST_SECONDS", 0.3)
    return folder


def in_queue(fake: Path, results: Path, *job_ids: str, comment: str = "array 0") -> None:
    name = read_submissions(results)[-1].job_name
    (fake / "queue").write_text("".join(f"{job_id}|{name}|RUNNING|{comment}\n" for job_id in job_ids))


def execute(plan: Plan, results: Path, cluster: Cluster, *, wait: bool = False) -> tuple[list[Event], list[str]]:
    events: list[Event] = []
    said: list[str] = []
    context = ExecutorContext(PLAN, settings=cluster, wait=wait, say=said.append)
    make_executor("slurm", context).execute(plan, RunOptions(results), events.append)
    return events, said


EACH = Cluster(bundle_minutes=0, array_size=2)


def test_a_plan_becomes_arrays_and_the_submission_says_which_job_holds_which_run(fake: Path, tmp_path: Path) -> None:
    plan = Plan((group(mode="full", seeds=3), group(mode="linear", seeds=2)))
    _, said = execute(plan, tmp_path, EACH.model_copy(update={"max_parallel": 1, "setup": ("module load x",)}))
    (submission,) = read_submissions(tmp_path)
    assert (submission.plan, submission.state) == (PLAN, "submitted")
    assert [array.job_id for array in submission.arrays] == ["70", "71"]
    assert [e.job_id for e in submission.elements] == ["70_0", "70_1", "71_0", "71_1"]
    assert sorted(run for e in submission.elements for run in e.runs) == sorted(run.record_key for run in plan.runs)
    first, second = ((fake / f"script{k}").read_text() for k in range(2))
    assert "#SBATCH --array=0-1%1" in first
    assert "#SBATCH --requeue" in first
    assert f"#SBATCH --job-name={submission.job_name}" in first
    assert "--dependency" not in first
    assert "#SBATCH --dependency=afterany:70" in second
    assert first.index("module load x") < first.index("OMP_NUM_THREADS=1 SPARSEBENCH_OFFLINE=1") < first.index("srun ")
    assert said[0].startswith("submitted 5 runs in 4 jobs (2 arrays), up to 1 at once")


def test_runs_in_the_queue_are_not_submitted_again(fake: Path, tmp_path: Path) -> None:
    plan = Plan((group(mode="full", seeds=3),))
    execute(plan, tmp_path, EACH)
    in_queue(fake, tmp_path, "70_0", "71")
    _, said = execute(plan, tmp_path, EACH)
    assert said[0] == "2 of 3 runs are queued already"
    assert [len(s.elements) for s in read_submissions(tmp_path)] == [3, 1]
    in_queue(fake, tmp_path, "72")
    (fake / "queue").write_text((fake / "queue").read_text().replace("sparsebench-", "another-"))  # an id used again
    assert queued_runs(ask(tmp_path)) == {}


def test_a_plan_that_is_all_queued_leaves_no_submission(fake: Path, tmp_path: Path) -> None:
    plan = Plan((group(mode="linear"),))
    execute(plan, tmp_path, EACH)
    in_queue(fake, tmp_path, "70")
    execute(plan, tmp_path, EACH)
    assert len(read_submissions(tmp_path)) == 1
    assert len(list((tmp_path / "jobs").iterdir())) == 2


def test_cancelled_submissions_hold_nothing(fake: Path, tmp_path: Path) -> None:
    execute(Plan((group(),)), tmp_path, EACH)
    in_queue(fake, tmp_path, "70")
    assert queued_runs(ask(tmp_path))
    write_submission(tmp_path, read_submissions(tmp_path)[0].model_copy(update={"state": "cancelled"}))
    assert queued_runs(ask(tmp_path)) == {}


def test_what_is_cancelled_while_it_is_submitted_goes_no_further(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fake / "scancel").write_text(f'#!/bin/sh\necho "$@" >> {fake}/cancelled\n')
    (fake / "scancel").chmod(0o755)
    put = submission._submit_array

    def cancelled_meanwhile(*arguments: object) -> list[str]:
        ids = put(*arguments)  # type: ignore[arg-type]
        assert main(["cancel", "--results", str(tmp_path)]) == 0
        return ids

    monkeypatch.setattr(submission, "_submit_array", cancelled_meanwhile)
    with pytest.raises(RunError, match="was cancelled meanwhile"):
        execute(Plan((group(mode="full", seeds=3),)), tmp_path, EACH)
    (found,) = read_submissions(tmp_path)
    assert (found.state, [array.job_id for array in found.arrays]) == ("cancelled", ["70"])
    assert (fake / "cancelled").read_text() == f"--user={os.getuid()} --name={found.job_name} 70_0 70_1\n"
    assert not (fake / "script1").exists()


def test_an_array_that_was_queued_but_not_noted_is_found_by_its_name(fake: Path, tmp_path: Path) -> None:
    plan = Plan((group(mode="full", seeds=2),))
    execute(plan, tmp_path, EACH)
    (whole,) = read_submissions(tmp_path)
    write_submission(tmp_path, whole.model_copy(update={"state": "submitting", "arrays": ()}))
    in_queue(fake, tmp_path, "70_0", "70_1")
    (found,) = ask(tmp_path).submissions
    assert found.arrays == whole.arrays
    assert set(queued_runs(ask(tmp_path))) == {run.record_key for run in plan.runs}


def test_what_slurm_doesn_t_take_is_said_and_what_it_took_is_kept(fake: Path, tmp_path: Path) -> None:
    (fake / "full").touch()
    with pytest.raises(RunError, match="Slurm took 0 of 1 jobs: Batch job submission failed: Job violates policy"):
        execute(Plan((group(),)), tmp_path, EACH)
    (submission,) = read_submissions(tmp_path)
    assert (submission.state, submission.arrays) == ("submitted", ())


def test_waiting_tells_records_and_gives_up_runs_whose_jobs_have_gone(fake: Path, tmp_path: Path) -> None:
    asked = group(mode="full", seeds=2)
    store, (one, _) = Store(tmp_path), asked.runs
    store.write_failure(record(one, status="failed"))  # an earlier failure says nothing about this submission
    context = ExecutorContext(PLAN, settings=EACH, say=lambda _: store.write(record(one)) and None)
    events: list[Event] = []
    began = time.monotonic()
    make_executor("slurm", context).execute(Plan((asked,)), RunOptions(tmp_path), events.append)
    assert [(e.kind, e.key) for e in events] == [("done", one.record_key)]
    assert events[0].record is not None
    assert events[0].record.status == "ok"
    assert 0.3 < time.monotonic() - began < 10


def test_a_queue_that_can_t_be_asked_ends_a_submission_before_it_begins(fake: Path, tmp_path: Path) -> None:
    (fake / "queue").unlink()
    with pytest.raises(RunError, match="squeue: slurm_load_jobs error"):
        execute(Plan((group(),)), tmp_path, EACH)
    assert read_submissions(tmp_path) == []


def test_an_earlier_submission_of_the_plan_is_waited_for(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = open_submission(tmp_path, PLAN, EACH)
    own = open_submission(tmp_path, PLAN, EACH)
    assert own.submission > earlier.submission
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            write_submission(tmp_path, earlier.model_copy(update={"state": "submitted"}))

    monkeypatch.setattr("sparsebench.runs.executors.queued.time.sleep", sleep)
    wait_for_earlier(tmp_path, own)
    assert len(waits) == 3
    wait_for_earlier(tmp_path, earlier)
    assert len(waits) == 3


def test_options_that_slurm_refuses_are_named(fake: Path) -> None:
    check_slurm(Cluster(partition="gpu", extra={"exclusive": True}), 5)
    asked = (fake / "asked").read_text()
    assert "--test-only --partition=gpu --time=240 --nodes=1 --ntasks=1 --exclusive --array=0-4 --wrap=true" in asked
    (fake / "refusal").write_text("sbatch: error: invalid partition specified: gpu\n")
    with pytest.raises(InputError, match="Slurm refuses such jobs: invalid partition specified: gpu"):
        check_slurm(Cluster(partition="gpu"), 1)


def test_without_slurm_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = quick_suite(tmp_path / "quick")
    monkeypatch.setenv("PATH", str(tmp_path))
    more = {"suite": "quick", "tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90", "results": tmp_path / "runs"}
    with pytest.raises(InputError, match=r"slurm can't run here .needs: sbatch"):
        sparsebench.run(executor="slurm", **more)  # type: ignore[arg-type]
    assert not (tmp_path / "runs").exists()


def test_the_nodes_gpus_are_not_looked_for_here(fake: Path, tmp_path: Path) -> None:
    tasks = quick_suite(tmp_path / "quick")
    arguments = ["run", "--suite", "quick", "--tasks-dir", str(tasks), "--checkpoint", "mini.acdc_s90"]
    arguments += ["--device", "cuda"]
    arguments += ["--precision", "fp16", "--executor", "slurm", "--results", str(tmp_path / "runs")]
    assert main([*arguments, "--no-wait"]) == 0
    assert "#SBATCH --gpus-per-node=1" in (fake / "script0").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "inline", "--jobs", "2"], "--executor inline runs one at a time"),
        (["--executor", "slurm", "--jobs", "2"], "with Slurm: --max-parallel N"),
        (["--partition", "gpu"], "add --executor slurm"),
        (["--no-wait"], "add --executor slurm"),
        (["--executor", "slurm", "--sbatch", "array=3"], "sparsebench sets the option 'array' itself"),
        (["--executor", "slurm", "--cluster", "no/such.yaml"], "no/such.yaml can't be read"),
        (["--executor", "slurm", "--time-minutes", "0"], "time_minutes: Input should be greater than 0"),
    ],
)
def test_options_that_don_t_go_together_are_said_before_anything_is_written(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *options, "--results", str(tmp_path / "runs")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_what_isn_t_here_is_named_with_the_command_that_fetches_it(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SPARSEBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    arguments = ["--suite", "cvpr22", "--method", "acdc", "--sparsity", "0.9", "--task", "cifar10"]
    assert main(["run", *arguments, "--executor", "slurm", "--results", str(tmp_path / "runs")]) == 2
    err = capsys.readouterr().err
    assert "not here" in err
    assert "--executor slurm forbids fetching; with a network: sparsebench fetch --suite cvpr22" in err
    assert not (tmp_path / "runs").exists()


def test_queued_jobs_are_read_whatever_their_names(fake: Path) -> None:
    (fake / "queue").write_text("12_3|name|RUNNING|(null)\n13|a b|PENDING|x|y\n")
    assert queued_jobs() == {
        "12_3": QueuedJob("12_3", "name", "RUNNING", "(null)"),
        "13": QueuedJob("13", "a b", "PENDING", "x|y"),
    }
