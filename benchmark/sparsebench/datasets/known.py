"""What a plan needs to know of a task's data, without its images; torch and NumPy stay out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..schema import Task

if TYPE_CHECKING:
    from .base import TaskData

EMBEDDED = frozenset({"digits", "glyphs", "textures"})
"""Loaders whose images come with the installed packages, so that a registered fingerprint is enough for a plan."""


@dataclass(frozen=True)
class KnownTask:
    """A task, the fingerprint of its data, and how many validation images and classes it has."""

    task: Task
    split_sha256: str
    n_val: int
    n_classes: int

    @classmethod
    def of(cls, data: TaskData) -> KnownTask:
        """Return what is known of data that has been opened."""
        return cls(data.task, data.split_sha256, len(data.val), len(data.classes))


def registered(task: Task) -> KnownTask | None:
    """Return what the registry says of a task's data; None where it must be opened to be known.

    Whoever runs something on it opens it, which asserts that the registry is right.
    """
    if (
        task.loader not in EMBEDDED
        or task.limit is not None
        or task.split_sha256 is None
        or task.classes is None
        or "val" not in (task.sizes or {})
    ):
        return None
    assert task.sizes is not None  # noqa: S101 - it holds val
    return KnownTask(task, task.split_sha256, task.sizes["val"], task.classes)
