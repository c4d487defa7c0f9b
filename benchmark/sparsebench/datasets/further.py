"""A task's further test sets: images of the same classes, scored by what was trained on the task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import extensions
from ..schema import DatasetError, FurtherSet, RegistryError, Task, digest, nearest
from .base import Split, TaskData
from .corruptions.altering import corrupted
from .opening import open_task
from .splits.limit import few

FOLDER = "imagefolder"
_SHOWN = 5


def open_further(
    data: TaskData, name: str, source: FurtherSet, data_dir: Path | None = None, cache_dir: Path | None = None
) -> Split:
    """Return the images of a further test set, labelled with the task's classes.

    Parameters
    ----------
    data : TaskData
        The task's own data.
    name : str
        The test set's name, for messages.
    source : FurtherSet
        What it is made of.
    data_dir, cache_dir : Path, optional
        As for :func:`.open_task`.

    Raises
    ------
    InputError
        If its images are missing or damaged, are of a class that the task doesn't have, or there is no such corruption.
    """
    if source.corruption is not None:
        assert source.severity is not None  # noqa: S101 - they go together
        return corrupted(data.test, source.corruption, source.severity)
    loader = source.loader or (FOLDER if source.root else data.task.loader)
    of_set: dict[str, Any] = {"loader": loader, "root": source.root, "options": source.options}
    task = data.task.without_limit() if data.task.limit is not None else data.task
    other = Task(id=f"{task.id}.{name}", **of_set)
    if loader == FOLDER:
        if source.options:
            raise RegistryError(
                f"task {task.id!r}, test set {name!r}: all of a folder's images are for testing",
                "leave its options out",
            )
        from .sources.testfolder import open_test_folder

        split, classes = open_test_folder(other, data_dir, cache_dir)
    else:
        opened = open_task(other, data_dir, cache_dir)
        split, classes = opened.test, opened.classes
    split = _labelled(split, classes, data, name)
    return split if data.task.limit is None else few(split, data.task.limit, len(data.classes))


def fingerprint_of(split_sha256: str, source: FurtherSet, split: Split | None = None) -> str:
    """Return a test set's fingerprint: of its images, or of the task's own data and what is done to it.

    Parameters
    ----------
    split_sha256 : str
        The fingerprint of the task's own data.
    source : FurtherSet
        What the test set is made of.
    split : Split, optional
        Its images; a corruption needs none.
    """
    if source.corruption is None:
        assert split is not None  # noqa: S101 - only corruptions do without
        return split.sha256
    declared: extensions.Corruption = extensions.get("corruptions", source.corruption)
    return digest(
        {"split": split_sha256, "corruption": declared.name, "version": declared.version, "severity": source.severity}
    )


def _labelled(split: Split, classes: Sequence[str], data: TaskData, name: str) -> Split:
    """Return the images with the task's class indices."""
    where = f"task {data.task.id!r}, test set {name!r}"
    if len(split) == 0:
        raise DatasetError(f"{where}: it has no image", "give a folder with images to test on")
    index = {label: i for i, label in enumerate(data.classes)}
    there = [classes[i] for i in np.unique(split.labels)]
    others = [label for label in there if label not in index]
    if others:
        shown = ", ".join(map(repr, others[:_SHOWN])) + (", ..." if len(others) > _SHOWN else "")
        near = nearest(others[0], data.classes, 1)
        known = ", ".join(map(repr, data.classes[:_SHOWN])) + (", ..." if len(data.classes) > _SHOWN else "")
        hint = f"is {others[0]!r} meant to be {near[0]!r}?" if near else f"the task's classes are {known}"
        raise DatasetError(f"{where}: {len(others)} of its classes aren't the task's: {shown}", hint)
    numbers = np.array([index.get(label, -1) for label in classes], dtype=np.int64)
    return Split(split.ids, numbers[split.labels], split.hashes, split.load, split.file, split.rendered)
