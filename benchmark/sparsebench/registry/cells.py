"""Which cells a selection asks for: its modes, and each mode's tasks with their protocols and further test sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .. import extensions
from ..schema import TRAINED, Checkpoint, FurtherSet, InputError, Mode, Protocol, Suite, Task
from .catalogue import Registry
from .own_tasks import own_tasks_of, tasks_by_mode
from .selection import Selection, select_modes, task_protocols
from .shifts import select_sets


@dataclass(frozen=True)
class Cells:
    """The cells of a selection, before any file is read.

    Parameters
    ----------
    suite : Suite
        The selection's suite.
    tasks : mapping of mode to sequence of Task
        Each mode's tasks; the modes are in the order in which they are run.
    protocols : mapping of (mode, str) to sequence of Protocol
        By mode and task id: one, or one per probe.
    sets : mapping of str to mapping
        Further test sets by task id and by name, each with whether it was asked for.
    named : bool
        Whether tasks of mode ``upstream`` were asked for by name.
    own : mapping of str to sequence of Task
        The tasks that each checkpoint's own head is tested on, by the checkpoint's id.
    """

    suite: Suite
    tasks: Mapping[Mode, Sequence[Task]]
    protocols: Mapping[tuple[Mode, str], Sequence[Protocol]]
    sets: Mapping[str, Mapping[str, tuple[FurtherSet, bool]]]
    named: bool = False
    own: Mapping[str, Sequence[Task]] = field(default_factory=dict)

    @property
    def every_task(self) -> list[Task]:
        """The tasks of all modes, each once."""
        return list(_every(self.tasks).values())

    def has(self, checkpoint: Checkpoint, mode: Mode, task: Task) -> bool:
        """Return whether a checkpoint is run on one of a mode's tasks."""
        return mode in TRAINED or task in self.own.get(checkpoint.id, ())

    def in_turn(self, mode: Mode) -> Iterator[tuple[Task, Protocol]]:
        """Yield a mode's tasks with their protocols: all tasks with the first probe, then with the next."""
        tasks = self.tasks[mode]
        for of_tasks in zip(*(self.protocols[mode, task.id] for task in tasks), strict=True):
            yield from zip(tasks, of_tasks, strict=True)

    def with_checkpoints(self, checkpoints: Sequence[Checkpoint], registry: Registry) -> Cells:
        """Return the cells of these checkpoints; in mode ``upstream`` their data sets say which tasks they are run on.

        Raises
        ------
        InputError
            If there is no task for a checkpoint's own head.
        """
        if "upstream" not in self.tasks:
            return self
        own = own_tasks_of(self.tasks["upstream"], checkpoints, registry, named=self.named)
        used = [task for task in self.tasks["upstream"] if any(task in of_one for of_one in own.values())]
        return replace(self, tasks={**self.tasks, "upstream": used}, own=own)


def select_cells(selection: Selection, registry: Registry, data_dir: Path | None) -> Cells:
    """Return the cells that a selection asks for.

    Raises
    ------
    InputError
        If a name is unknown, a mode has no task, or options don't go together.
    """
    suite = registry.suite(selection.suite)
    modes = _modes(selection, suite)
    tasks, named = tasks_by_mode(modes, selection, registry, suite, data_dir)
    every = _every(tasks)
    protocols = {
        (mode, task.id): task_protocols(mode, task, selection, registry, suite)
        for mode in modes
        for task in tasks[mode]
    }
    sets = select_sets(selection.shifts, [task for task in every.values() if not task.upstream])
    if selection.shifts and "upstream" in modes:
        raise InputError("--shift scores what was trained on a task, which mode upstream doesn't", "leave --shift out")
    if selection.shifts:
        _need_heads(protocols.values())
    if selection.limit is None:
        return Cells(suite, tasks, protocols, sets, named)
    limits = {name: task.with_limit(selection.limit) for name, task in every.items()}
    return Cells(
        suite,
        {mode: [limits[task.id] for task in of_mode] for mode, of_mode in tasks.items()},
        {(mode, limits[name].id): own for (mode, name), own in protocols.items()},
        {limits[name].id: own for name, own in sets.items()},
        named,
    )


def has_head(protocol: Protocol) -> bool:
    """Return whether what a protocol trains can score further test sets."""
    return protocol.probe is None or extensions.get("probes", protocol.probe).keeps_head


def _modes(selection: Selection, suite: Suite) -> list[Mode]:
    modes = select_modes(selection.modes or (["linear"] if selection.probes else []), suite)
    if selection.settings and modes == ["upstream"]:
        raise InputError("--set changes nothing in mode upstream, which trains nothing", "leave --set out")
    if selection.settings and len(modes) > 1:
        both = " and ".join(modes)
        raise InputError(f"--set changes the protocol of one mode, not of {both}", "add --mode linear or --mode full")
    if selection.probes and "linear" not in modes:
        raise InputError("--probe is for linear mode", "add --mode linear, or leave --probe out")
    return modes


def _every(tasks: Mapping[Mode, Sequence[Task]]) -> dict[str, Task]:
    return {task.id: task for of_mode in tasks.values() for task in of_mode}


def _need_heads(protocols: Iterable[Sequence[Protocol]]) -> None:
    """Raise where further test sets are asked for and what is trained can't score them."""
    for protocol in {one.name: one for several in protocols for one in several}.values():
        if protocol.mode in TRAINED and not has_head(protocol):
            raise InputError(
                f"--shift needs a trained head, and the probe {protocol.probe} keeps none",
                "leave --shift out, or use another probe, such as sgd or lbfgs",
            )
