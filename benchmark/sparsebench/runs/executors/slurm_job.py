"""What a Slurm job does: one element of an array, its groups one after the other.

Nothing heavy is imported here, so that a signal that comes early finds its handler. Slurm signals a job before its time
limit and before it is preempted. The run in progress then writes down how far it is and stops, and submitit queues the
job again; it goes on where it was, since what has a record is not run again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from ...common import interruption
from ...common.progress import listening

if TYPE_CHECKING:
    from ..runner import Event

_KILL_SECONDS = 600.0
"""How long a job that Slurm is ending waits for its end, so that Slurm, not the job, says how it ended."""


class ArrayJob:
    """The callable that is submitted: plain strings, so that it is read back by any version of Python.

    Parameters
    ----------
    folder : str
        Where what the submission's jobs read lies: ``<array>.json``.
    array : int
        Number of the array in its submission.
    grace : int
        Seconds that a run has, once signalled, to stop by itself; then the job queues again without it.
    """

    def __init__(self, folder: str, array: int, grace: int) -> None:
        self.folder, self.array, self.grace = folder, array, grace

    def __call__(self) -> None:
        """Run the groups of the element that this job is."""
        stop = _Signals(self.grace)
        stop.listen()
        try:
            try:
                self._work()
            finally:
                signal.alarm(0)
        except interruption.Stopped as stopped:
            _say(f"stopped: {stopped}")
            stop.end()

    def checkpoint(self) -> Any:
        """Return what is queued when the job queues again: the same job; what it has done is on disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _work(self) -> None:
        from ...engines.memory import keep_pages
        from ..jobs import read_job
        from ..plan import Plan
        from .inline import InlineExecutor

        document = json.loads((Path(self.folder) / f"{self.array}.json").read_bytes())
        groups, options = read_job(document["elements"][int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))])
        keep_pages()
        with listening(_say):
            InlineExecutor().execute(Plan(tuple(groups)), options, _log)


class _Signals:
    """The signals of a job: the first asks the run to stop, an alarm sees to it that the job ends in time."""

    def __init__(self, grace: int) -> None:
        self._grace = grace
        self._warning: int = getattr(signal, "SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2"))
        self._requeue: Any = signal.getsignal(self._warning)
        self._received: int | None = None

    def listen(self) -> None:
        """Take the signals over from submitit, whose handler would end the run at once, its state unsaved."""
        signal.signal(self._warning, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGALRM, self._on_alarm)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._received != self._warning:
            self._received = number
        name = signal.Signals(number).name
        _say(f"{name}: stopping")
        interruption.request_stop(name)
        if number == self._warning:
            signal.alarm(self._grace)

    def _on_alarm(self, *_: object) -> NoReturn:
        raise interruption.Stopped(f"not stopped within {self._grace} s of the signal")

    def end(self) -> NoReturn:
        """Queue the job again, or wait for the end that Slurm has announced; return in no case."""
        if self._received == self._warning:
            self._again()
        _say("waiting for Slurm to end the job")  # preempted jobs queue again by themselves, cancelled ones don't
        deadline = time.monotonic() + _KILL_SECONDS
        while time.monotonic() < deadline:
            if self._received == self._warning:
                self._again()
            time.sleep(0.2)
        sys.exit(1)

    def _again(self) -> NoReturn:
        signal.alarm(0)
        signal.signal(self._warning, signal.SIG_IGN)
        if callable(self._requeue):
            self._requeue(self._warning, None)
        sys.exit(1)


def _log(event: Event) -> None:
    """Print an event into the job's log; start no run once a stop was asked for."""
    if event.kind == "started":
        if interruption.stop_requested():
            raise interruption.Stopped("between runs")
        _say(f"run {event.key} started")
    elif event.kind == "done" and event.record is not None:
        record = event.record
        if record.failure is not None:
            _say(f"run {event.key} failed: {record.failure.type}: {record.failure.message}")
        elif record.scores is not None:
            _say(f"run {event.key} done: {getattr(record.scores, record.spec.metric):.2%}")


def _say(line: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), line, flush=True)
