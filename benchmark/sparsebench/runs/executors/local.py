"""Run a plan on several worker processes of this machine.

Workers are started once and given one group after the other, as lines of JSON: no code of the caller is imported
again, so this works from notebooks and scripts too. Each worker has processors, or a GPU, of its own. Runs that other
processes hold are left for the end, so that nobody waits while there is something to do. The run that a killed worker
was at is tried again by another, a stated number of times, before it counts as failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

from ...common.progress import notify
from ...extensions import ExecutorContext
from ...schema import Failure, Group, RunError, RunRecord
from ...store import Store
from ..environment import environment
from ..options import RunOptions
from ..plan import Plan
from ..runner import Emit, Event
from .pinning import Place, find_place
from .protocol import decode_event, encode_job
from .worker import GRACE_SECONDS

_QUICK_SECONDS = 2.0  # what a worker without a training takes to end
_STILLBORN = 3  # so many workers in a row that never got ready: something is wrong with all of them


@dataclass
class _Worker:
    """One worker process and what it is at."""

    process: subprocess.Popen[str]
    place: Place
    started: bool = False  # it has said that it is ready
    idle: bool = False
    group: Group | None = None  # what is left of the group it was given
    current: str | None = None


class LocalExecutor:
    """Runs groups on worker processes.

    Parameters
    ----------
    context : ExecutorContext
        The number of workers, and the threads of each, which set the number of OpenMP threads from the start.
    """

    def __init__(self, context: ExecutorContext) -> None:
        self.jobs, self.threads, self.processes = context.jobs, context.threads, context.processes
        self._stillborn = 0
        self._deaths: Counter[str] = Counter()  # of workers, by the run that they were at

    def execute(self, plan: Plan, options: RunOptions, emit: Emit) -> None:
        """Run all groups of ``plan``; the workers are stopped however this ends."""
        waiting = deque(plan.groups)
        held: deque[Group] = deque()  # by other processes, when a worker came to them
        messages: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        workers: list[_Worker] = []
        device = plan.runs[0].numerics.device if plan.groups else "cpu"
        try:
            while waiting or held or any(w.group is not None for w in workers):
                for worker in workers:
                    if worker.idle and waiting:
                        self._give(worker, waiting.popleft(), options, wait=False)
                    elif worker.idle and held:
                        self._give(worker, held.popleft(), options, wait=True)
                while len(workers) < self.jobs and sum(not w.started for w in workers) < len(waiting) + len(held):
                    workers.append(self._start(messages, workers, device))
                worker, message = messages.get()
                if message is None:
                    workers.remove(worker)
                    self._lost(worker, waiting, options, emit)
                elif message["kind"] in ("ready", "idle"):
                    self._stillborn = 0
                    if worker.group is not None and (left := worker.group.only(message.get("left", ()))) is not None:
                        held.append(left)
                    worker.started = worker.idle = True
                    worker.group = worker.current = None
                else:
                    worker.current = message["key"]
                    if message["kind"] == "done":
                        worker.group, worker.current = _without(worker.group, message["key"]), None
                    emit(decode_event(message))
        finally:
            _stop(workers)

    def _start(
        self, messages: queue.Queue[tuple[_Worker, dict[str, Any] | None]], others: list[_Worker], device: str
    ) -> _Worker:
        place = find_place(self.jobs, self.threads, device, [worker.place for worker in others], self.processes)
        process = subprocess.Popen(
            [sys.executable, "-m", "sparsebench.runs.executors.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": str(self.threads), "PYTHONPATH": os.pathsep.join(sys.path)}
            | place.environment,
            pass_fds=place.descriptors,
        )
        place.hand_over()
        worker = _Worker(process, place)
        threading.Thread(target=_listen, args=(worker, process.stdout, messages), daemon=True).start()
        return worker

    def _give(self, worker: _Worker, group: Group, options: RunOptions, *, wait: bool) -> None:
        worker.group, worker.idle = group, False
        with contextlib.suppress(BrokenPipeError):  # it has died: its end of output says so
            assert worker.process.stdin is not None  # noqa: S101 - opened above
            worker.process.stdin.write(encode_job(group, options, wait) + "\n")
            worker.process.stdin.flush()

    def _lost(self, worker: _Worker, waiting: deque[Group], options: RunOptions, emit: Emit) -> None:
        """Record the run that a dead worker was at as failed, and put the rest of its group back."""
        code = worker.process.wait()
        if not worker.started:
            self._stillborn += 1
            if self._stillborn < _STILLBORN:
                return  # another is started in its place
            raise RunError(
                f"{_STILLBORN} worker processes in a row ended before they were ready (exit status {code})",
                "free memory, or run with --jobs 1",
            )
        if worker.group is None:
            return
        spec = next((r for r in worker.group.runs if r.record_key == worker.current), worker.group.runs[0])
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        self._deaths[spec.record_key] += 1
        if code < 0 and self._deaths[spec.record_key] <= options.retries:
            notify(f"a worker process ended with {how} at {worker.group.label}, seed {spec.seed}: tried again")
            waiting.appendleft(worker.group)
            return
        record = RunRecord(
            status="failed",
            spec=spec,
            failure=Failure(type="WorkerDied", message=f"the worker process ended with {how} (out of memory?)"),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            environment=environment(),
        )
        with contextlib.suppress(RunError):  # a full disk: the event below still reports the failure
            Store(options.results).write_failure(record)
        emit(Event("done", spec.record_key, record=record))
        rest = _without(worker.group, spec.record_key)
        if rest is not None:
            waiting.appendleft(rest)


def _without(group: Group | None, key: str) -> Group | None:
    """Return a group without one of its runs; None if nothing is left."""
    return None if group is None else group.only({run.record_key for run in group.runs} - {key})


def _listen(
    worker: _Worker, stream: IO[str] | None, messages: queue.Queue[tuple[_Worker, dict[str, Any] | None]]
) -> None:
    for line in stream or ():
        if line.endswith("\n"):  # a worker that was killed may leave half a line
            messages.put((worker, json.loads(line)))
    messages.put((worker, None))


def _stop(workers: list[_Worker]) -> None:
    """End all workers: by the end of their input, and by force where that takes too long or is interrupted."""
    for worker in workers:
        with contextlib.suppress(OSError):
            assert worker.process.stdin is not None  # noqa: S101 - opened at the start
            worker.process.stdin.close()
    try:
        for patience in (_QUICK_SECONDS, GRACE_SECONDS):
            end = time.monotonic() + patience
            for worker in workers:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, end - time.monotonic()))
            left = sum(worker.process.poll() is None for worker in workers)
            if left and patience == _QUICK_SECONDS:
                notify(f"waiting for {left} worker(s) to write down how far they are; Ctrl-C ends them at once")
    finally:
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
