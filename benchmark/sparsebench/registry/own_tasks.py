"""Which tasks a mode is run on: ``upstream`` tests checkpoints on what they were trained on, the others never do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..schema import TRAINED, Checkpoint, InputError, Mode, Suite, Task
from .catalogue import Registry
from .selection import Selection, select_tasks


def tasks_by_mode(
    modes: Sequence[Mode], selection: Selection, registry: Registry, suite: Suite, data_dir: Path | None
) -> tuple[dict[Mode, list[Task]], bool]:
    """Return each mode's tasks, and whether own tasks were named.

    They are those of the named tasks that suit the mode, else the suite's, and all own tasks.

    Raises
    ------
    InputError
        If a named task suits none of the modes, or a mode has no task.
    """
    trained = [mode for mode in modes if mode in TRAINED]
    named = select_tasks(selection.tasks, registry, suite, data_dir) if selection.tasks or trained else []
    own = [task for task in named if task.upstream]
    others = [task for task in named if not task.upstream]
    if own and "upstream" not in modes:
        raise InputError(
            f"task {own[0].id!r} has no images to learn from: it tests checkpoints' own heads", "add --mode upstream"
        )
    if others and not trained:
        raise _no_own_task(others[0].id, registry)
    if trained and not others:
        raise InputError(f"there is no task for mode {trained[0]}", "name one with --task")
    tested = own or list(_own_tasks(registry).values())
    return {mode: others if mode in TRAINED else tested for mode in modes}, bool(own)


def _no_own_task(name: str, registry: Registry) -> InputError:
    return InputError(
        f"task {name!r} is no checkpoint's own: mode upstream tests what a checkpoint was trained on",
        f"choose of {', '.join(_own_tasks(registry))} (--task imagenet --data DIR), or write a task file with"
        " 'upstream: [DATASET]'",
    )


def _own_tasks(registry: Registry) -> dict[str, Task]:
    return {name: task for name, task in registry.tasks.items() if task.upstream}


def own_tasks_of(
    tasks: Sequence[Task], checkpoints: Sequence[Checkpoint], registry: Registry, *, named: bool
) -> dict[str, list[Task]]:
    """Return the tasks that each checkpoint's own head is tested on, by the checkpoint's id.

    Parameters
    ----------
    tasks : sequence of Task
        Own tasks.
    checkpoints : sequence of Checkpoint
        What was selected.
    registry : Registry
        It says which data sets have a task.
    named : bool
        Whether the tasks were asked for: then they are to suit all checkpoints, else each checkpoint gets its own.

    Raises
    ------
    InputError
        If a checkpoint was trained on something else, or nothing is known to test it on.
    """
    if not named:
        found = {
            c.id: [task for task in tasks if c.upstream is not None and c.upstream.dataset in task.upstream]
            for c in checkpoints
        }
        without = next((c for c in checkpoints if not found[c.id]), None)
        if without is not None:
            trained = f"was trained on {without.upstream.dataset}" if without.upstream else "doesn't say its data set"
            raise InputError(
                f"checkpoint {without.id} {trained}: there is no task for its own head",
                f"name one with --task: {', '.join(task.id for task in tasks)}",
            )
        return found
    elsewhere = {name: task.id for task in _own_tasks(registry).values() for name in task.upstream}
    for checkpoint in checkpoints:
        for task in tasks:
            _assert_own(checkpoint, task, elsewhere)
    return {checkpoint.id: list(tasks) for checkpoint in checkpoints}


def own_task(entry: Checkpoint, registry: Registry, name: str | None) -> Task:
    """Return the task that a checkpoint's own head is tested on: the one named, or that of its upstream data set.

    Raises
    ------
    InputError
        If it was trained on something else, or nothing is known to test it on.
    """
    known = [task for task in registry.tasks.values() if task.upstream]
    tasks = known if name is None else [registry.task(name)]
    if name is not None and not tasks[0].upstream:
        raise _no_own_task(name, registry)
    return own_tasks_of(tasks, [entry], registry, named=name is not None)[entry.id][0]


def _assert_own(checkpoint: Checkpoint, task: Task, elsewhere: dict[str, str]) -> None:
    """Refuse a checkpoint of another own task's data, or of another number of classes, as far as its entry says."""
    upstream = checkpoint.upstream
    if upstream is None or upstream.dataset in task.upstream:
        return
    if upstream.dataset in elsewhere:
        raise InputError(
            f"checkpoint {checkpoint.id} was trained on {upstream.dataset}, whose task is"
            f" {elsewhere[upstream.dataset]}, not {task.id}",
            "choose checkpoints with --checkpoint or --suite, or another --task",
        )
    if upstream.classes is not None and task.classes not in (None, upstream.classes):
        raise other_classes(checkpoint, task, upstream.classes, task.classes)


def other_classes(checkpoint: Checkpoint, task: Task, head: int, wanted: int | None) -> InputError:
    """Return the error of a head that has other classes than a task."""
    return InputError(
        f"checkpoint {checkpoint.id}: its head has {head:,} classes, task {task.id} has {wanted:,}",
        "a head is tested on the classes that it was trained for: choose another --task",
    )
