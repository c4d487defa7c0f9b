"""What a plan needs from elsewhere: checkpoint files and data sets, fetched before the first run, or named."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..common.paths import datasets_dir
from ..datasets.known import KnownTask, registered
from ..downloads import ByHandError, FetchError, find_state, offline_reason
from ..downloads.locating import remedy
from ..schema import (
    Checkpoint,
    CheckpointError,
    DatasetError,
    DifferentDataError,
    InputError,
    MissingDataError,
    SparsebenchError,
    Task,
)

if TYPE_CHECKING:
    from ..datasets import TaskData
    from ..downloads import Fetcher

Note = Callable[[str], None]
IfMissing = Literal["refuse", "skip", "name"]
_SHOWN = 5
_WITHOUT = "--skip-missing runs the rest"


@dataclass(frozen=True)
class Missing:
    """A checkpoint or data set that a selection reads and that is not here, and what to do about it."""

    subject: Checkpoint | Task
    state: Literal["fetchable", "by hand", "missing"]
    remedy: str

    @property
    def kind(self) -> Literal["checkpoint", "data set"]:
        """What it is, for people."""
        return "checkpoint" if isinstance(self.subject, Checkpoint) else "data set"

    @property
    def line(self) -> str:
        """What is missing, and what to do about it."""
        is_checkpoint = isinstance(self.subject, Checkpoint)
        return f"checkpoint {self.subject.id}: its file is missing; {self.remedy}" if is_checkpoint else self.remedy


@dataclass(frozen=True)
class Provision:
    """What is here of what a plan reads: what is known of the tasks' data, in their order, and what is missing."""

    data: tuple[KnownTask, ...]
    missing: tuple[Missing, ...] = ()

    def missing_of(self, *subjects: Checkpoint | Task) -> tuple[Missing, ...]:
        """Return what is missing of some checkpoints and tasks."""
        ids = {(type(subject), subject.id) for subject in subjects}
        return tuple(need for need in self.missing if (type(need.subject), need.subject.id) in ids)


@dataclass(frozen=True)
class Prefetch:
    """Makes sure that everything a plan reads is there.

    Parameters
    ----------
    data_dir : Path or None
        Where data sets live; None is the default folder.
    cache_dir : Path or None
        Where the results of slow checks are remembered.
    fetcher : callable
        Gives what fetches checkpoint files, when there is one to fetch.
    begin : callable, optional
        Called with what is fetched next.
    forbidden : str or None
        What forbids fetching, such as ``--offline``.
    command : str
        The command that fetches everything.
    if_missing : str
        What to do about what isn't here: ``refuse`` fetches what may be fetched and raises for the rest; ``skip``
        fetches, too, and leaves the rest out; ``name`` fetches nothing.
    """

    data_dir: Path | None = None
    cache_dir: Path | None = None
    fetcher: Callable[[], Fetcher] = field(default_factory=lambda: _fetcher)
    begin: Note | None = None
    forbidden: str | None = field(default_factory=offline_reason)
    command: str = "sparsebench fetch"
    if_missing: IfMissing = "refuse"

    @property
    def data_root(self) -> Path:
        """Where data sets live."""
        return self.data_dir or datasets_dir()

    def provide(self, checkpoints: Sequence[Checkpoint], tasks: Sequence[Task], note: Note) -> Provision:
        """Open the tasks and fetch what is missing, the cheap checks before the downloads.

        Parameters
        ----------
        checkpoints, tasks : sequences
            What the plan reads.
        note : callable
            Called with what is being checked, line by line.

        Raises
        ------
        InputError
            If something is missing that can't or may not be fetched, and ``if_missing`` is ``refuse`` (everything that
            is missing is named); or if a data set is here, but damaged or not what its task says.
        """
        opened: dict[str, KnownTask] = {}
        missing = [_absent(c) for entry in checkpoints for c in entry.files() if find_state(c.file) != "here"]
        for task in tasks:
            note(f"checking task {task.id}")
            try:
                opened[task.id] = self.know(task)
            except DatasetError as error:
                there = isinstance(error, DifferentDataError) or not isinstance(error, MissingDataError)
                fetchable = not isinstance(error, DifferentDataError) and self.can_download(task)
                if there and not fetchable:
                    raise
                missing.append(Missing(task, "fetchable" if fetchable else "by hand", error.line))
        if self.if_missing == "refuse":
            self._check(missing)
        if self.if_missing != "name":
            missing = self._get(missing, opened)
        return Provision(tuple(opened[task.id] for task in tasks if task.id in opened), tuple(missing))

    def _get(self, missing: Sequence[Missing], opened: dict[str, KnownTask]) -> list[Missing]:
        """Fetch what can and may be fetched, data sets first, and return what is missing still."""
        left: list[Missing] = []
        failures: list[SparsebenchError] = []
        for need in sorted(missing, key=lambda need: isinstance(need.subject, Checkpoint)):
            if self.forbidden or need.state != "fetchable":
                left.append(need)
                continue
            try:
                if isinstance(need.subject, Checkpoint):
                    self.fetch(need.subject)
                else:
                    self.download(need.subject)
                    opened[need.subject.id] = self.know(need.subject)
            except (FetchError, DatasetError) as error:
                if self.if_missing == "refuse" and isinstance(error, DatasetError):
                    raise
                failures.append(error)
                left.append(Missing(need.subject, need.state, error.line))
        if self.if_missing == "refuse" and len(failures) == 1:
            raise failures[0]
        if self.if_missing == "refuse" and failures:
            raise FetchError(
                f"{len(failures)} checkpoints can't be fetched; the first: {failures[0].message}",
                f"all of them: {self.command}",
            )
        return left

    def know(self, task: Task) -> KnownTask:
        """Return what is known of a task's data: as registered, else as found when it is opened."""
        return registered(task) or KnownTask.of(self.open(task))

    def verify(self, tasks: Iterable[Task]) -> None:
        """Open the tasks of which only what is registered is known, or raise :class:`DatasetError`."""
        for task in {task.id: task for task in tasks if registered(task)}.values():
            self.open(task)

    def open(self, task: Task) -> TaskData:
        """Return a task's data, or raise :class:`DatasetError`; nothing is fetched."""
        from ..datasets import open_task

        return open_task(task, self.data_root, self.cache_dir)

    def can_download(self, task: Task) -> bool:
        """Return whether a task's data set can be fetched."""
        from ..datasets import can_download

        return can_download(task)

    def download(self, task: Task) -> None:
        """Fetch a task's data set, or raise :class:`DatasetError`."""
        from ..datasets import download_task

        if self.begin is not None:
            self.begin(f"data set {task.id}")
        download_task(task, self.data_root)

    def fetch(self, checkpoint: Checkpoint) -> Path:
        """Return the path of a checkpoint's file, fetched if it isn't there, or raise :class:`CheckpointError`."""
        if find_state(checkpoint.file) == "fetchable" and self.begin is not None:
            self.begin(checkpoint.id)
        return self.fetcher().fetch(checkpoint)

    def _check(self, missing: Sequence[Missing]) -> None:
        """Raise if anything is missing that isn't fetched now; what is missing is named."""
        others = [need for need in missing if need.state != "fetchable"]
        if self.forbidden and len(others) < len(missing):
            raise InputError(
                f"not here: {', '.join(counted(missing))}",
                f"{self.forbidden} forbids fetching; with a network: {self.command}",
            )
        if len(others) == 1:
            raise ByHandError(others[0].line, _WITHOUT)
        if others:
            raise ByHandError(
                f"not here, and no address gives them: {', '.join(counted(others))}",
                f"what to do: {self.command} --dry-run; {_WITHOUT}",
            )


def _fetcher() -> Fetcher:
    from ..downloads import Fetcher

    return Fetcher()


def _absent(checkpoint: Checkpoint) -> Missing:
    state = find_state(checkpoint.file)
    return Missing(checkpoint, "missing" if state == "here" else state, remedy(checkpoint))


def counted(missing: Sequence[Missing]) -> list[str]:
    """Return how many checkpoints and data sets are missing, and some of their names."""
    names: dict[str, list[str]] = {"checkpoint": [], "data set": []}
    for need in missing:
        if need.subject.id not in names[need.kind]:
            names[need.kind].append(need.subject.id)
    return [text for kind, ids in names.items() for text in _counted(kind, ids)]


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
    from ..downloads import Fetcher, TransferDisplay

    with TransferDisplay() as display:
        display.begin(entry.id)
        Fetcher(progress=display.update, note=display.line).fetch(entry)
