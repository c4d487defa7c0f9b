"""What a job does with the signals that Slurm sends it; submitit's part of it is played here."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparsebench.runs.executors.slurm_job import ArrayJob

JOB = """
import os, signal, sys, time
from sparsebench.common import interruption
from sparsebench.runs.executors import slurm_job

def requeue(number, frame):
    print("queued again after", signal.Signals(number).name, flush=True)
    sys.exit(7)

def work(self):
    print("working", flush=True)
    deadline = time.monotonic() + {seconds}
    while time.monotonic() < deadline:
        if {obeys} and interruption.stop_requested():
            raise interruption.Stopped("as asked")
        time.sleep(0.02)

signal.signal(signal.SIGUSR2, requeue)
slurm_job.ArrayJob._work = work
slurm_job._KILL_SECONDS = 1.0
slurm_job.ArrayJob("folder", 0, grace=1)()
print("ended by itself", flush=True)
"""


def start(*, obeys: bool, seconds: float = 30.0) -> subprocess.Popen[str]:
    code = JOB.format(obeys=obeys, seconds=seconds)
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert job.stdout is not None
    assert job.stdout.readline() == "working\n"
    return job


def end(job: subprocess.Popen[str], *signals: signal.Signals) -> str:
    for number in signals:
        job.send_signal(number)
        time.sleep(0.2)
    out, _ = job.communicate(timeout=20)
    return out


def test_a_signalled_job_stops_its_run_and_queues_again() -> None:
    job = start(obeys=True)
    out = end(job, signal.SIGUSR2)
    assert out.index("stopped: as asked") < out.index("queued again after SIGUSR2")
    assert job.returncode == 7


def test_a_run_that_doesn_t_stop_in_time_is_left_where_it_is() -> None:
    job = start(obeys=False)
    out = end(job, signal.SIGUSR2)
    assert "stopped: not stopped within 1 s of the signal" in out
    assert job.returncode == 7


def test_a_run_that_ends_before_the_time_is_up_needs_no_other_start() -> None:
    job = start(obeys=False, seconds=0.6)
    assert "ended by itself" in end(job, signal.SIGUSR2)
    assert job.returncode == 0


def test_a_job_told_to_terminate_stops_its_run_and_leaves_the_rest_to_slurm() -> None:
    job = start(obeys=True)
    out = end(job, signal.SIGTERM)
    assert "waiting for Slurm to end the job" in out
    assert "queued again" not in out
    assert job.returncode == 1


@pytest.mark.parametrize("order", [(signal.SIGTERM, signal.SIGUSR2), (signal.SIGUSR2, signal.SIGTERM)])
def test_a_preempted_job_queues_again_in_whatever_order_its_signals_come(order: tuple[signal.Signals, ...]) -> None:
    job = start(obeys=order[0] == signal.SIGTERM)
    assert "queued again after SIGUSR2" in end(job, *order)
    assert job.returncode == 7


def test_what_is_submitted_is_small_plain_and_survives_pickling(tmp_path: Path) -> None:
    job = ArrayJob(str(tmp_path), 3, 80)
    data = pickle.dumps(job)
    assert len(data) < 500
    assert vars(pickle.loads(data)) == {"folder": str(tmp_path), "array": 3, "grace": 80}
    assert vars(job.checkpoint().function) == vars(job)


def test_what_a_job_unpickles_loads_nothing_heavy() -> None:
    code = "import sys, sparsebench.runs.executors.slurm_job; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"torch", "pandas", "timm"} & set(done.stdout.split())
