"""Assert that what a loader found is what its task says, before the first run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import combinations

from ..schema import DatasetError, DifferentDataError, Task
from .base import TaskData


def assert_task(data: TaskData) -> None:
    """Check classes, sizes, ids, overlap and fingerprint of a task's data.

    Raises
    ------
    DatasetError
        If there are fewer than two classes, an empty train or test set, an id or an image that occurs twice where it
        may not, or anything that differs from the task's ``classes``, ``sizes`` or ``split_sha256``.
    """
    _assert_counts(data)
    _assert_ids(data)
    _assert_disjoint(data)
    expected = data.task.split_sha256
    if expected is not None and data.split_sha256 != expected:
        raise _differs(data.task, "fingerprint (split_sha256)", expected, data.split_sha256)


def _differs(task: Task, what: str, expected: object, found: object) -> DifferentDataError:
    return DifferentDataError(
        f"task {task.id!r}: {what} should be {expected}, found {found}",
        hint="the data or the package that carries it is another version; a changed data set needs an entry of its own",
    )


def assert_numbers(task: Task, n_classes: int, found: Mapping[str, int]) -> None:
    """Check a task's number of classes, and those of its sizes that are among the numbers of images found.

    Raises
    ------
    DatasetError
        If one differs, or there are fewer than two classes.
    """
    if task.classes is not None and n_classes != task.classes:
        raise _differs(task, "number of classes", task.classes, n_classes)
    if n_classes < 2:
        raise DatasetError(f"task {task.id!r}: {n_classes} class(es)", hint="classification needs at least two")
    for name, expected in (task.sizes or {}).items():
        if name in found and found[name] != expected:
            raise _differs(task, f"number of {name} images", expected, found[name])


def _assert_counts(data: TaskData) -> None:
    task = data.task
    found = {str(name): len(split) for name, split in data.splits.items()}
    assert_numbers(task, len(data.classes), found | {"trainval": found["train"] + found["val"]})
    needed = (("test", data.test),) if task.upstream else (("train", data.train), ("test", data.test))
    for name, split in needed:
        if len(split) == 0:
            raise DatasetError(
                f"task {task.id!r}: no {name} images", hint="a task needs images to learn from and to test"
            )


def _assert_ids(data: TaskData) -> None:
    seen: set[str] = set()
    for split in data.splits.values():
        for name in split.ids:
            if name in seen:
                raise DatasetError(f"task {data.task.id!r}: the id {name!r} occurs twice", hint="ids must be unique")
            seen.add(name)


def _assert_disjoint(data: TaskData) -> None:
    if data.on_overlap == "allow":
        return
    for (name, split), (other_name, other) in combinations(data.splits.items(), 2):
        shared = set(split.hashes) & set(other.hashes)
        if not shared:
            continue
        example = split.ids[next(i for i, content in enumerate(split.hashes) if content in shared)]
        message = (
            f"task {data.task.id!r}: {len(shared)} image(s) are in both {name} and {other_name}, such as {example!r}"
        )
        if data.on_overlap == "error":
            raise DatasetError(message, hint="no image may be in two splits")
        warnings.warn(f"{message}: scores on {other_name} flatter", stacklevel=4)
