"""Have several processes train a run, and follow them until the training is in the run's state.

They are started by torch's elastic launcher, which starts all of them anew, from the last state, where one is killed.
Where the protocol says ``continue``, those that are left go on without it. The process that follows them computes
nothing meanwhile: it holds the run's claim, and scores what was trained.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

from ...common import files, interruption, timings
from ...common.progress import Progress, notify
from ...schema import Group, Parallel, Processes, RunError
from ...transfer.finetune import EpochReport, TrainingState
from ..jobs import job_document
from ..options import RunOptions
from .messages import GRACE_SECONDS, error_of

_POLL_SECONDS = 0.2
_LOG, _JOB, _KNOWN = "processes.log", "job.json", "processes"

Observe = Callable[[EpochReport], None]


def train(group: Group, options: RunOptions, resume: TrainingState, progress: Progress, observe: Observe) -> Processes:
    """Train the one run of a group in several processes; the result is in ``resume``.

    Parameters
    ----------
    group : Group
        The run.
    options : RunOptions
        Where it reads and writes; ``retries`` is how often the processes are started anew.
    resume : TrainingState
        Where the run keeps how far it is.
    progress, observe : callable
        Called with the work done, and after each epoch.

    Returns
    -------
    Processes
        What became of them.

    Raises
    ------
    RunError
        If the training fails, or its processes end too often.
    OSError
        If a file can't be read that they need.
    """
    (spec,) = group.runs
    asked, how = spec.numerics.processes, group.protocol.parallel or Parallel()
    size, launches = asked, 0
    before = int((resume.read_json(_KNOWN) or {}).get("restarts", 0))  # of a command that was stopped
    document = job_document([group], options)
    document |= {"folder": str(resume.folder), "identity": dict(resume.identity)}
    files.write_text(resume.folder / _JOB, json.dumps(document))
    with interruption.deferred():
        while True:
            goes_on = how.when_killed == "continue"
            launched = _Launch(resume.folder, size, 0 if goes_on else options.retries, spec.numerics.threads)
            launched.follow(progress, observe, partial(_remember, resume, before))
            if launched.failure is not None:
                raise error_of(launched.failure)
            before += launched.restarts
            if launched.trained is not None:
                timings.add(launched.trained["stages"])
                return Processes(start=asked, end=launched.size, restarts=before, sent=launched.trained["sent"])
            interruption.check()
            launches += 1
            if goes_on and launched.status > 0:
                size -= 1
            elif launched.status > 0 or launches > options.retries:
                size = 0
            if size == 0:
                raise RunError(
                    f"the {asked} processes of the run ended before the training was done: {launched.last_words()}",
                    f"see {_LOG} in {resume.folder}; --retries N starts them anew more often",
                )
            before += 1
            notify(f"the processes of a run ended (exit status {launched.status}): {size} go on from the last state")


def _remember(resume: TrainingState, before: int, restarts: int) -> None:
    """Note how often processes were started anew, for a command that goes on later."""
    resume.write_json(_KNOWN, {"restarts": before + restarts})


class _Launch:
    """One start of the launcher, with what its processes say."""

    def __init__(self, folder: Path, size: int, restarts: int, threads: int) -> None:
        self.size, self.restarts, self.status = size, 0, 0
        self.trained: dict[str, Any] | None = None
        self.failure: dict[str, Any] | None = None
        self._log = folder / _LOG
        self._pids: dict[int, int] = {}  # of living processes, with how often they were started anew before
        command = [
            sys.executable,
            "-m",
            "sparsebench.runs.processes.launcher",
            "--standalone",
            "--local-addr=localhost",
        ]
        command += [f"--nproc-per-node={size}", f"--max-restarts={restarts}"]
        command += ["-m", "sparsebench.runs.processes.worker", str(folder / _JOB)]
        environment = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(sys.path)}
        if sys.platform.startswith("linux"):
            environment["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for the command alone
            )

    def follow(self, progress: Progress, observe: Observe, restarted: Callable[[int], None]) -> None:
        """Take what the processes say until all have ended; end them where a stop is asked for, or one has failed."""
        messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=_listen, args=(self._process.stdout, messages), daemon=True).start()
        deadline: float | None = None
        try:
            while True:
                with contextlib.suppress(queue.Empty):
                    message = messages.get(timeout=_POLL_SECONDS)
                    if message is None:
                        self._pids.clear()  # the last of them has closed its output
                        break
                    self._take(message, progress, observe, restarted)
                if self.failure is not None:
                    break
                if deadline is None and (interruption.stop_requested() or self._process.poll() is not None):
                    self._close()
                    deadline = time.monotonic() + GRACE_SECONDS
                if deadline is not None and time.monotonic() > deadline:
                    break
        finally:
            self._end()

    def _take(
        self, message: dict[str, Any], progress: Progress, observe: Observe, restarted: Callable[[int], None]
    ) -> None:
        match message["kind"]:
            case "process":
                start = message["start"]
                self._pids = {pid: its for pid, its in self._pids.items() if its == start} | {message["pid"]: start}
                if start > self.restarts:  # a stop may come before they have found each other
                    self.restarts = start
                    restarted(start)
            case "group":
                self.size, self.restarts = message["size"], message["restarts"]
                if self.restarts:
                    notify(f"a process of a run was lost: {self.size} have started from the last state")
                restarted(self.restarts)
            case "progress":
                progress(message["done"], message["total"])
            case "epoch":
                observe(EpochReport(**message["report"]))
            case "note":
                notify(message["line"])
            case "warning":
                warnings.warn(message["line"], stacklevel=2)
            case "trained":
                self.trained = message
            case "failed":
                self.failure = self.failure or message

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101 - opened above
            self._process.stdin.close()

    def _end(self) -> None:
        """See to it that no process is left; the launcher goes first, so that it starts none anew."""
        self._close()
        if self._process.poll() is None:
            self._process.kill()
        self.status = self._process.wait()
        for pid in self._pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def last_words(self) -> str:
        """Return the last line of the log that says anything."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return "no log"
        said = [line.strip() for line in lines if "Error" in line or "ignal" in line]
        return said[-1] if said else f"exit status {self.status}"


def _listen(stream: IO[bytes] | None, messages: queue.Queue[dict[str, Any] | None]) -> None:
    for line in stream or ():
        if line.endswith(b"\n"):  # a process that was killed may leave half a line
            with contextlib.suppress(ValueError):
                messages.put(json.loads(line))
    messages.put(None)
