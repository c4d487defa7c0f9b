"""What a plan needs from elsewhere: checkpoint files and data sets, fetched before the first run, or named."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..common.paths import datasets_dir
from ..datasets import can_download, download_task, open_task
from ..datasets.base import TaskData
from ..downloads import ByHandError, Fetcher, FetchError, TransferDisplay, find_state, offline_reason
from ..downloads.locating import remedy
from ..schema import Checkpoint, CheckpointError, DatasetError, DifferentDataError, InputError, Task

Note = Callable[[str], None]
_SHOWN = 5


@dataclass(frozen=True)
class Prefetch:
    """Makes sure that everything a plan reads is there.

    Parameters
    ----------
    data_dir : Path or None
        Where data sets live; None is the default folder.
    cache_dir : Path or None
        Where the results of slow checks are remembered.
    fetcher : Fetcher
        Fetches checkpoint files.
    begin : callable, optional
        Called with what is fetched next.
    forbidden : str or None
        What forbids fetching, such as ``--offline``.
    command : str
        The command that fetches everything.
    """

    data_dir: Path | None = None
    cache_dir: Path | None = None
    fetcher: Fetcher = field(default_factory=Fetcher)
    begin: Note | None = None
    forbidden: str | None = field(default_factory=offline_reason)
    command: str = "sparsebench fetch"

    @property
    def data_root(self) -> Path:
        """Where data sets live."""
        return self.data_dir or datasets_dir()

    def provide(self, checkpoints: Sequence[Checkpoint], tasks: Sequence[Task], note: Note) -> list[TaskData]:
        """Open the tasks and fetch what is missing, the cheap checks before the downloads.

        Parameters
        ----------
        checkpoints, tasks : sequences
            What the plan reads.
        note : callable
            Called with what is being checked, line by line.

        Returns
        -------
        list of TaskData
            The tasks' data, in their order.

        Raises
        ------
        InputError
            If something is missing and can't or may not be fetched; everything that is missing is named.
        """
        absent = [c for entry in checkpoints for c in entry.files() if find_state(c.file) != "here"]
        opened: dict[str, TaskData] = {}
        closed: list[Task] = []
        for task in tasks:
            note(f"checking task {task.id}")
            try:
                opened[task.id] = self.open(task)
            except DatasetError as error:
                if isinstance(error, DifferentDataError) or not self.can_download(task):
                    raise
                closed.append(task)
        self._check(absent, closed)
        for task in closed:
            self.download(task)
            opened[task.id] = self.open(task)
        self._fetch(absent)
        return [opened[task.id] for task in tasks]

    def open(self, task: Task) -> TaskData:
        """Return a task's data, or raise :class:`DatasetError`; nothing is fetched."""
        return open_task(task, self.data_root, self.cache_dir)

    def can_download(self, task: Task) -> bool:
        """Return whether a task's data set can be fetched."""
        return can_download(task)

    def download(self, task: Task) -> None:
        """Fetch a task's data set, or raise :class:`DatasetError`."""
        if self.begin is not None:
            self.begin(f"data set {task.id}")
        download_task(task, self.data_root)

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """Return the path of a checkpoint's file, fetched if it isn't there, or raise :class:`CheckpointError`."""
        if find_state(checkpoint.file) == "fetchable" and self.begin is not None:
            self.begin(checkpoint.id)
        return self.fetcher.fetch(checkpoint)

    def _check(self, absent: Sequence[Checkpoint], closed: Sequence[Task]) -> None:
        """Raise if anything is missing that isn't fetched now."""
        others = [c for c in absent if find_state(c.file) in ("by hand", "missing")]
        if self.forbidden and (len(others) < len(absent) or closed):
            what = _counted("checkpoint", [c.id for c in absent]) + _counted("data set", [t.id for t in closed])
            raise InputError(
                f"not here: {', '.join(what)}", f"{self.forbidden} forbids fetching; with a network: {self.command}"
            )
        if len(others) == 1:
            raise ByHandError(f"checkpoint {others[0].id}: its file is missing", remedy(others[0]))
        if others:
            (names,) = _counted("checkpoint", [c.id for c in others])
            raise ByHandError(f"not here, and no address gives them: {names}", f"what to do: {self.command} --dry-run")

    def _fetch(self, absent: Sequence[Checkpoint]) -> None:
        failures: list[FetchError] = []
        for checkpoint in absent:
            try:
                self.fetch(checkpoint)
            except FetchError as error:
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise FetchError(
                f"{len(failures)} checkpoints can't be fetched; the first: {failures[0].message}",
                f"all of them: {self.command}",
            )


def _counted(kind: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return [f"{len(names)} {kind}{'s' if len(names) > 1 else ''} ({shown})"]


def fetch_command(options: Sequence[tuple[str, Sequence[object]]]) -> str:
    """Return the ``sparsebench fetch`` command with these options and their values."""
    return shlex.join(
        ["sparsebench", "fetch", *(part for flag, values in options for v in values for part in (flag, str(v)))]
    )


def fetch_missing(entry: Checkpoint, *, offline: bool = False) -> None:
    """Fetch a checkpoint's file if an address gives it and it isn't here, unless the network is forbidden.

    Raises
    ------
    CheckpointError
        If it can't be fetched.
    """
    if find_state(entry.file) != "fetchable":
        return
    if forbidden := offline_reason(offline):
        raise CheckpointError(
            f"checkpoint {entry.id} is not here", f"{forbidden} forbids fetching; with a network: {remedy(entry)}"
        )
    with TransferDisplay() as display:
        display.begin(entry.id)
        Fetcher(progress=display.update, note=display.line).fetch(entry)
