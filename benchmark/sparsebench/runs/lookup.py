"""From a run's id or key to its record, and to the checkpoint and the task that it was done with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

from ..registry import Registry
from ..schema import Checkpoint, Group, InputError, ResultsError, RunRecord, Task, nearest
from ..store import Store
from ..store.plans import read_plans

T = TypeVar("T", Checkpoint, Task)

_SHOWN = 5


def find_record(store: Store, run: str) -> RunRecord:
    """Return the finished record of a run id or a record key.

    Parameters
    ----------
    store : Store
        The results folder.
    run : str
        A run id (16 hexadecimal digits), or a record key (the same, a dash and 8 more).

    Raises
    ------
    ResultsError
        If the folder holds no record.
    InputError
        If it has no such run, the run failed, or there are several records of the id.
    """
    found = store.read([run]) if store.records_dir.is_dir() else []
    if not found:
        raise _unknown(store, run)
    finished = [record for record in found if record.status == "ok"]
    if not finished:
        failure = found[0].failure
        why = f": {failure.message}" if failure and failure.message else ""
        raise InputError(f"the run {run} failed{why}", "run its cell again with --overwrite always")
    if len(finished) > 1:
        keys = ", ".join(record.record_key for record in finished)
        raise InputError(f"the run {run} was computed in {len(finished)} ways", f"name one of its records: {keys}")
    return finished[0]


def _unknown(store: Store, run: str) -> InputError:
    known = [record.record_key for record in store.read()] if store.records_dir.is_dir() else []
    if not known:
        return ResultsError(f"{str(store.root)!r} holds no record", "give a results folder: results=... or --results")
    near = nearest(run, known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known[:_SHOWN])}"
    return InputError(f"{str(store.root)!r} has no run {run!r}", hint + (", ..." if len(known) > _SHOWN else ""))


def checkpoints_of(record: RunRecord, store: Store, registry: Registry) -> Iterator[Checkpoint]:
    """Return the entries that a run's checkpoint may be: the registered one, and those of the plans that it was in.

    A name may have changed its meaning since: whoever loads one compares its hashes with the run's.
    """
    registered = registry.checkpoints.get(record.spec.checkpoint)
    return _distinct(registered, (group.checkpoint for group in _groups(record, store)))


def tasks_of(record: RunRecord, store: Store, registry: Registry) -> Iterator[Task]:
    """Return the tasks that a run's task may be, likewise."""
    registered = registry.tasks.get(record.spec.task)
    return _distinct(registered, (group.task for group in _groups(record, store)))


def _distinct(registered: T | None, planned: Iterable[T]) -> Iterator[T]:
    """Yield what is registered, if anything is, then what plans have, each once; plans are read only when needed."""
    seen: list[T] = []
    for one in chain([] if registered is None else [registered], planned):
        if one not in seen:
            seen.append(one)
            yield one


def results_folder(results: str | Path) -> Store:
    """Return the store of a results folder.

    Raises
    ------
    ResultsError
        If it is none.
    """
    root = Path(results)
    if not root.is_dir():
        raise ResultsError(f"there is no results folder {str(root)!r}", "give the folder of --results")
    return Store(root)


def _groups(record: RunRecord, store: Store) -> Iterator[Group]:
    for plan in reversed(read_plans(store.plans_dir)):
        for group in plan.groups:
            if any(spec.run_id == record.run_id for spec in group.runs):
                yield group
