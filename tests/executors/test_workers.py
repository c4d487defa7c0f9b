"""Each local worker has a place of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from sparsebench.executors import local
from sparsebench.executors.local import worker_place
from sparsebench.executors.protocol import AFFINITY


def places(jobs: int, threads: int, device: str = "cpu") -> list[dict[str, str]]:
    return [worker_place(slot, jobs, threads, device) for slot in range(jobs)]


def test_workers_share_no_processor_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 5, 7}, raising=False)
    assert places(2, 2) == [{AFFINITY: "2,3"}, {AFFINITY: "5,7"}]
    assert places(4, 1) == [{AFFINITY: cpu} for cpu in "2357"]
    assert places(3, 2) == [{}, {}, {}], "too few: the system shares them out"


def test_each_worker_sees_one_gpu_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert places(3, 1, "cuda") == [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in ("4", "6", "4")]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(local, "_count_gpus", lambda: 2)
    assert places(2, 1, "cuda") == [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in "01"]
    assert places(2, 1, "cuda:1") == [{}, {}], "the user chose one"


def test_a_worker_keeps_to_its_processors_and_ends_with_its_parent() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    cpus = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_getaffinity") else set()
    if cpus:
        env[AFFINITY] = ",".join(map(str, cpus))
    worker = subprocess.Popen(
        [sys.executable, "-m", "sparsebench.executors.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert worker.stdout is not None
    assert worker.stdin is not None
    assert json.loads(worker.stdout.readline()) == {"kind": "ready"}
    if cpus:
        assert os.sched_getaffinity(worker.pid) == cpus
    worker.stdin.close()
    assert worker.wait(20) == 3
