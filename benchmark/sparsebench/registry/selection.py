"""What a user asked for, by name: modes, tasks and their protocols."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import extensions
from ..schema import (
    MODES,
    TRAINED,
    UPSTREAM,
    DatasetError,
    InputError,
    Mode,
    Protocol,
    Suite,
    Task,
    UnknownNameError,
    digest,
)
from . import Registry, read_task
from .names import plain_id
from .patterns import expand


@dataclass(frozen=True)
class Selection:
    """What a user asked for; an empty field means all that the suite selects.

    ``checkpoints`` are ids or files (a file's architecture is then the one of ``archs``); ``tasks`` are ids, task
    files or image folders. ``probes`` are linear mode's, which alone is run where no mode is named; without any it is
    the probe of the suite's protocol. ``replicates`` are numbers of upstream trainings, or ``all``: by default 0.
    ``settings`` change the protocol of the one mode that is run (see
    :mod:`.protocols`); ``microbatch`` changes full mode's. ``format`` is that of checkpoint files, ``limit`` how many
    images of each split are used. ``shifts`` are further test sets: corruptions, or names that tasks give theirs (see
    :mod:`.shifts`). With ``references``, the checkpoints that the selected ones are compared with are
    selected, too.
    """

    suite: str = "mini"
    methods: Sequence[str] = ()
    sparsities: Sequence[float] = ()
    archs: Sequence[str] = ()
    checkpoints: Sequence[str] = ()
    tasks: Sequence[str] = ()
    modes: Sequence[str] = ()
    seeds: Sequence[int] = ()
    variants: Sequence[str] = ()
    replicates: Sequence[str] = ()
    probes: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    microbatch: int | None = None
    format: str = "auto"
    limit: int | None = None
    shifts: Sequence[str] = ()
    references: bool = False


def select_modes(names: Sequence[str], suite: Suite) -> list[Mode]:
    """Return the modes of a selection: all of the suite's, or those named; ``upstream`` needs no suite."""
    for name in names:
        if name not in MODES:
            raise UnknownNameError("mode", name, MODES)
        if name in TRAINED and name not in suite.modes:
            raise InputError(f"suite {suite.id!r} has no mode {name!r}", f"it has: {', '.join(suite.modes)}")
    return [mode for mode in MODES if mode in (names or suite.modes)]


def task_protocols(mode: Mode, task: Task, selection: Selection, registry: Registry, suite: Suite) -> list[Protocol]:
    """Return a task's protocols with its overrides and the asked-for settings: one, or one per probe asked for."""
    if mode not in TRAINED:
        return [UPSTREAM]
    own = suite.protocol_of(mode, own_task=task.id in suite.tasks and task == registry.tasks[task.id])
    names = select_protocols(mode, selection.probes, registry, own)
    overrides, settings = task.overrides.get(mode, {}), selection.settings
    if mode == "full" and selection.microbatch is not None:
        settings = {**settings, "microbatch": selection.microbatch}
    return [registry.protocol(name, mode, overrides, f"task {task.id}", settings) for name in names]


def select_protocols(mode: Mode, probes: Sequence[str], registry: Registry, own: str) -> list[str]:
    """Return the names of a mode's protocols: the suite's ``own``, or in linear mode one per probe asked for."""
    if mode != "linear" or not probes:
        return [own]
    named = {name: extensions.get("probes", name).protocol_name for name in probes}
    suits = registry.protocol(own, mode).probe
    return [own if name == suits else protocol for name, protocol in named.items()]


def apart(what: str, name: str, path: Path, taken: Collection[str]) -> str:
    """Return the name of a user's file or folder, with its folder's before it where another has the name already."""
    if name not in taken:
        return name
    path = path.resolve()
    longer = plain_id(f"{path.parent.name}-{name}", what)
    if longer in taken:
        longer = f"{name}-{digest(str(path))[:8]}"
    warnings.warn(f"two {what}s are called {name!r}: {str(path)!r} is called {longer!r} here", stacklevel=3)
    return longer


def select_tasks(names: Sequence[str], registry: Registry, suite: Suite, data_dir: Path | None) -> list[Task]:
    """Return the tasks of a selection: registered ones by id, task files, and image folders."""
    if not names:
        return [registry.task(name) for name in suite.tasks]
    tasks: dict[str, Task] = {}
    there = [name for name in names if Path(name).exists()]
    names = expand("task", names, suite.tasks, default=suite.tasks, more=registry.tasks, literal=there)
    for name in dict.fromkeys(names):
        if name in registry.tasks or not _is_path(name):
            task = registry.task(name)
        else:
            path = _own_path(name)
            if not path.exists() and path.suffix not in (".yaml", ".yml"):
                raise DatasetError(f"task {name!r}: no folder {path.absolute()}", "correct the path")
            task = read_task(path, data_dir) if path.suffix in (".yaml", ".yml") else folder_task(path)
            task = task.model_copy(update={"id": apart("task", task.id, path, tasks)})
        if task.id in tasks:
            raise InputError(f"two tasks are called {task.id!r}", "give one of them another id")
        tasks[task.id] = task
    return list(tasks.values())


def folder_task(path: Path) -> Task:
    """Return the task of an image folder, named after it."""
    return Task(id=plain_id(path.resolve().name, "folder"), loader="imagefolder", root=str(path.resolve()))


def _own_path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise InputError(f"task {name!r}: {error}", "correct the path") from error


def _is_path(name: str) -> bool:
    """Return whether a task's name is meant as a path: an existing folder, or written like one."""
    return "/" in name or "\\" in name or Path(name).suffix in (".yaml", ".yml") or Path(name).is_dir()
