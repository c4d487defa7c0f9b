"""The tasks that records name: the registered ones, whole or limited, and their test images."""

from __future__ import annotations

import re
from pathlib import Path

from ..datasets import TaskData, open_task
from ..datasets.known import EMBEDDED
from ..registry import Registry
from ..schema import DatasetError, InputError, RunSpec, Task
from .splits import TestSplit, of_data

_LIMITED = re.compile(r"(.+)-limit([1-9]\d{0,8})")


def task_named(name: str, registry: Registry) -> Task | None:
    """Return a registered task by its name in records, ``digits`` or ``digits-limit100``; None if there is none."""
    if name in registry.tasks:
        return registry.tasks[name]
    match = _LIMITED.fullmatch(name)
    task = registry.tasks.get(match.group(1)) if match else None
    return None if task is None or match is None else task.with_limit(int(match.group(2)))


class Opened:
    """Tasks that are here, each opened once.

    Parameters
    ----------
    registry : Registry
        The tasks that there are.
    data_dir : Path, optional
        Where data sets live; without one only embedded tasks are opened.
    cache_dir : Path, optional
        Where the results of slow checks may be remembered.
    """

    def __init__(self, registry: Registry, data_dir: Path | None = None, cache_dir: Path | None = None) -> None:
        self.registry, self.data_dir, self.cache_dir = registry, data_dir, cache_dir
        self._tasks: dict[str, TaskData | None] = {}

    def data(self, name: str) -> TaskData | None:
        """Return a task's data; None where it is not registered or not here."""
        if name not in self._tasks:
            self._tasks[name] = self._open(name)
        return self._tasks[name]

    def _open(self, name: str) -> TaskData | None:
        task = task_named(name, self.registry)
        if task is None or (task.loader not in EMBEDDED and self.data_dir is None):
            return None
        try:
            return open_task(task, self.data_dir, self.cache_dir)
        except (DatasetError, InputError):
            return None

    def fingerprint(self, name: str) -> str | None:
        """Return a task's known fingerprint: the registered one, else that of the data that is here."""
        task = task_named(name, self.registry)
        if task is not None and task.limit is None and task.split_sha256 is not None:
            return task.split_sha256
        data = self.data(name)
        return None if data is None else data.split_sha256

    def test(self, spec: RunSpec) -> TestSplit | None:
        """Return the test images of a run; None where they aren't here, or are others than the run had."""
        data = self.data(spec.task)
        return None if data is None or data.split_sha256 != spec.split_sha256 else of_data(data)
