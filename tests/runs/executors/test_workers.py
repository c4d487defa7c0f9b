"""Each local worker has a place of its own, and none waits while there is something to do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparsebench.api import Request, prepare
from sparsebench.extensions import ExecutorContext
from sparsebench.registry.selection import Selection
from sparsebench.runs.executors import make_executor, pinning
from sparsebench.runs.executors.pinning import GPU, Place, find_place
from sparsebench.runs.executors.protocol import AFFINITY
from sparsebench.runs.executors.worker import GRACE_SECONDS
from sparsebench.runs.options import RunOptions
from sparsebench.runs.runner import Event
from sparsebench.store import Claims, Store
from tasks_quick import quick_suite

Find = Callable[..., dict[str, str]]

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="places are held on Linux")


@pytest.fixture(autouse=True)
def _own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests' names apart from those of what else runs here."""
    monkeypatch.setattr(pinning, "PREFIX", f"test {os.getpid()} {tmp_path.name}")


@pytest.fixture
def find() -> Iterator[Find]:
    """Find places as so many commands do, and keep them."""
    held: list[Place] = []

    def find(*arguments: object) -> dict[str, str]:
        held.append(find_place(*arguments))  # type: ignore[arg-type]
        return held[-1].environment

    yield find
    for place in held:
        place.hand_over()


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processors, by number."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 5, 7}, raising=False)


@on_linux
@pytest.mark.usefixtures("four")
def test_workers_share_no_processor_where_there_are_enough(find: Find) -> None:
    assert [find(3, 2, "cpu") for _ in range(3)] == [{}, {}, {}], "too few: the system shares them out"
    assert [find(2, 2, "cpu") for _ in range(2)] == [{AFFINITY: "2,3"}, {AFFINITY: "5,7"}]


@on_linux
@pytest.mark.usefixtures("four")
def test_two_commands_at_once_take_different_processors(find: Find) -> None:
    found = [find(2, 1, "cpu") for _ in range(4)]
    assert found == [{AFFINITY: cpu} for cpu in "2357"]
    assert find(2, 1, "cpu") == {}, "none is free"


@on_linux
@pytest.mark.usefixtures("four")
def test_a_worker_without_room_for_all_its_threads_holds_none(find: Find) -> None:
    find(1, 3, "cpu")
    assert find(1, 2, "cpu") == {}
    assert find(1, 1, "cpu") == {AFFINITY: "7"}


@on_linux
@pytest.mark.usefixtures("four")
def test_a_place_is_free_again_once_its_worker_was_killed(find: Find) -> None:
    place = find_place(1, 4, "cpu")
    worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=place.descriptors)
    place.hand_over()
    try:
        assert find(1, 1, "cpu") == {}, "the worker alone holds it now"
    finally:
        worker.kill()
        worker.wait()
    assert find(1, 4, "cpu") == {AFFINITY: "2,3,5,7"}


@on_linux
def test_a_worker_gets_a_gpu_that_no_other_has_then_takes_turns(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPU, "4,6")
    places = [find_place(3, 1, "cuda")]
    for _ in range(2):
        places.append(find_place(3, 1, "cuda", places))
    assert [place.environment for place in places] == [{GPU: gpu} for gpu in ("4", "6", "4")]
    assert find(1, 1, "cuda") == {GPU: "4"}, "another command finds none free and takes any"
    places[1].hand_over()
    assert find(1, 1, "cuda") == {GPU: "6"}
    places[0].hand_over()


def test_gpus_are_counted_where_none_are_named(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(GPU, raising=False)
    monkeypatch.setattr(pinning, "_count_gpus", lambda: 0)
    assert find(1, 1, "cuda") == {}
    monkeypatch.setattr(pinning, "_count_gpus", lambda: 1)
    assert find(1, 1, "cuda") == {GPU: "0"}
    assert find(2, 1, "cuda:1") == {}, "the user chose one"


WORKER = """
import os, threading
import sparsebench.runs.executors.worker as worker

signalled = threading.Event()
worker.keep_pages = lambda: None
worker.decode_job = lambda line: (None, None, True)
worker.encode_event, worker.encode_idle = str, str
worker.run_group = lambda group, options, emit, wait, loaded: (emit(sorted(os.sched_getaffinity(0))), signalled.wait())
worker.signal.raise_signal = lambda number: signalled.set()  # comes just when the group has ended
worker.main()
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_a_worker_keeps_to_its_processors_and_ends_though_its_command_ends_with_its_group() -> None:
    cpu = min(os.sched_getaffinity(0))
    env = {**os.environ, AFFINITY: str(cpu), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-uc", WORKER]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("group\n")
        process.stdin.flush()
        assert [process.stdout.readline(), process.stdout.readline()] == ['{"kind": "ready"}\n', f"[{cpu}]\n"]
        process.stdin.close()
        try:
            assert process.wait(GRACE_SECONDS / 2) == 3
        finally:
            process.kill()


@pytest.mark.slow
def test_a_worker_leaves_runs_that_others_hold_for_the_end(tmp_path: Path) -> None:
    both = ["mini.acdc_s90", "mini.gmp_s90"]
    selection = Selection(suite="quick", checkpoints=both, modes=["linear"])
    results = tmp_path / "runs"
    request = Request(selection, tasks_dirs=[quick_suite(tmp_path / "quick")], results=results)
    plan = prepare(request).plan
    first, second = plan.groups
    done: list[tuple[str, bool]] = []
    with Claims(results) as claims:
        taken = claims.take(first.runs[0].record_key)
        assert taken is not None
        late = threading.Timer(60, claims.release, [taken])  # a worker that waits for it goes on then
        late.start()

        def note(event: Event) -> None:
            if event.kind == "done":
                done.append((event.key, late.is_alive()))
            if len(done) == len(plan.runs) - 1 and late.is_alive():
                late.cancel()
                late.join()
                claims.release(taken)

        try:
            make_executor("local", ExecutorContext()).execute(plan, RunOptions(results), note)
        finally:
            late.cancel()
    others = [run.record_key for run in (*first.runs[1:], *second.runs)]
    assert sorted(done[:-1]) == sorted((run_id, True) for run_id in others), "done while the first was held"
    assert done[-1] == (first.runs[0].record_key, False)
    assert {r.record_key for r in Store(results).read()} == {run.record_key for run in plan.runs}
