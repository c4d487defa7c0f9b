"""The further test sets of a task as a plan has them: with the fingerprints of their contents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..common.paths import datasets_dir
from ..schema import FurtherSet, PlannedSet
from .known import KnownTask


def planned_sets(
    data: KnownTask, sets: Mapping[str, tuple[FurtherSet, bool]], data_dir: Path | None, cache_dir: Path | None
) -> tuple[PlannedSet, ...]:
    """Return a task's further test sets, by name; those that aren't corruptions are opened and checked.

    Parameters
    ----------
    data : KnownTask
        The task.
    sets : mapping of str to (FurtherSet, bool)
        What each is made of, and whether it was asked for.
    data_dir, cache_dir : Path or None
        Where data sets and caches are.

    Raises
    ------
    InputError
        If a test set is missing, damaged, or of classes that the task doesn't have.
    """
    if not sets:
        return ()
    from .further import fingerprint_of, open_further

    root = data_dir or datasets_dir()
    opened = None
    planned = []
    for name, (source, asked) in sorted(sets.items()):
        split = None
        if source.corruption is None:
            if opened is None:
                from .opening import open_task

                opened = open_task(data.task, root, cache_dir)
            split = open_further(opened, name, source, root, cache_dir)
        planned.append(
            PlannedSet(
                name=name, fingerprint=fingerprint_of(data.split_sha256, source, split), source=source, asked=asked
            )
        )
    return tuple(planned)
