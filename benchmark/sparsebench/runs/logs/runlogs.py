"""One structured log file per run: ``logs/<run id>.jsonl``, a JSON object per line, each with its time and event.

Logs help people; they are never read back for numbers. So a log that can't be written, or a logger that fails, is told
once and costs the run nothing else.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...common.filenames import safe_name
from ...common.progress import notify
from ...schema import RunRecord, RunSpec
from .loggers import LOGGERS, Logger, described

_JOB = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")


def log_path(results: Path, key: str) -> Path:
    """Return the log file of a run."""
    return results / "logs" / f"{safe_name(key)}.jsonl"


class RunLogs:
    """The log of one run, and its logger.

    Parameters
    ----------
    results : Path
        The results folder.
    spec : RunSpec
        The run.
    logger : str, optional
        One of :data:`~sparsebench.runs.logs.LOGGERS`.
    """

    def __init__(self, results: Path, spec: RunSpec, logger: str | None = None) -> None:
        self._path = log_path(results, spec.record_key)
        self._deaf = False
        self._logger: Logger | None = None
        job = {name.lower(): os.environ[name] for name in _JOB if name in os.environ}
        self.event("started", host=socket.gethostname(), pid=os.getpid(), **job, run=described(spec))
        if logger is not None:
            try:
                self._logger = LOGGERS[logger](results, spec)
            except Exception as error:  # whatever a package of others raises: the run goes on without it
                self._give_up(error)

    def event(self, kind: str, **fields: Any) -> None:
        """Append a line."""
        if self._deaf:
            return
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": kind, **fields}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            with open(os.open(self._path, flags, 0o666), "ab") as file:  # noqa: PTH123 - a pipe isn't waited for
                file.write((json.dumps(line) + "\n").encode())
        except OSError as error:
            self._deaf = True
            notify(f"can't write the log {self._path}: {error.strerror or error}; the run goes on without it")

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Log the results of an epoch (from 1)."""
        self.event("epoch", epoch=number, **values)
        self._scalars(number, values)

    def end(self, record: RunRecord) -> None:
        """Log how the run ended."""
        if record.scores is not None:
            values = {"top1": record.scores.top1, "mean_per_class": record.scores.mean_per_class}
            self.event("done", seconds=record.seconds, **values)
            self._scalars(0, {f"final/{name}": value for name, value in values.items()})
        elif record.failure is not None:
            self.event("failed", seconds=record.seconds, **record.failure.model_dump(mode="json"))
        self._close(failed=record.status == "failed")

    def stopped(self, reason: str) -> None:
        """Log that the run has stopped, to go on later."""
        self.event("stopped", reason=reason)
        self._close(failed=True)

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._logger is not None:
            try:
                self._logger.scalars(step, values)
            except Exception as error:
                self._give_up(error)

    def _close(self, *, failed: bool) -> None:
        if self._logger is not None:
            try:
                self._logger.end(failed=failed)
            except Exception as error:
                self._give_up(error)
            self._logger = None

    def _give_up(self, error: Exception) -> None:
        self._logger = None
        text = f"{type(error).__name__}: {error}"
        self.event("logger failed", error=text)
        notify(f"the logger failed, and the run goes on without it: {text}")
