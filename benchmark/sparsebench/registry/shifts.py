"""The further test sets that ``--shift`` asks for: corruptions of a task's test images, and sets that tasks name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import extensions
from ..schema import FurtherSet, InputError, Task, UnknownNameError
from ..schema.further import CORRUPTIONS, DECLARED

LEFT_OUT = {"frost": "it needs photographs of frost, which sparsebench doesn't carry"}
"""Corruptions of ImageNet-C that are left out, and why."""


def select_sets(texts: Sequence[str], tasks: Sequence[Task]) -> dict[str, dict[str, tuple[FurtherSet, bool]]]:
    """Return each task's further test sets by name, each with whether it was asked for.

    Parameters
    ----------
    texts : sequence of str
        What is asked for: ``corruptions``, a family or a corruption (or a Python file that declares one), perhaps with
        ``:SEVERITY``, else at all five; the name of a test set that tasks have, or ``tests`` for all of these. What a
        task names and isn't ``on_request`` comes besides.
    tasks : sequence of Task
        The tasks.

    Raises
    ------
    InputError
        If there is no such corruption or test set, or a severity is none.
    """
    found: dict[str, dict[str, tuple[FurtherSet, bool]]] = {
        task.id: {name: (test, False) for name, test in task.tests.items() if not test.on_request} for task in tasks
    }
    for text in texts:
        name, severities = _parsed(text)
        named = {task.id: _named(name, task) for task in tasks}
        if any(named.values()):
            if severities:
                raise InputError(f"--shift {text}: {name!r} has no severity", f"give --shift {name}")
            for of_task, tests in named.items():
                found[of_task] |= {test: (source, True) for test, source in tests.items()}
            continue
        if name == DECLARED:
            raise InputError(
                f"--shift {text}: none of the tasks names a test set", "docs/how-to/shift.md says how a task does"
            )
        own = {test: (source, True) for test, source in _corruptions(text, name, severities, tasks)}
        for task in tasks:
            found[task.id] |= own
    return found


def _parsed(text: str) -> tuple[str, tuple[int, ...]]:
    name, colon, severity = text.rpartition(":")
    if not colon:
        return text, ()
    if severity not in map(str, extensions.SEVERITIES):
        raise InputError(f"--shift {text}: {severity!r} is not a severity", "severities are 1 to 5")
    return name, (int(severity),)


def _named(name: str, task: Task) -> dict[str, FurtherSet]:
    """Return the test sets of a task that a name means."""
    return task.tests if name == DECLARED else {name: task.tests[name]} if name in task.tests else {}


def _corruptions(
    text: str, name: str, severities: tuple[int, ...], tasks: Sequence[Task]
) -> Iterator[tuple[str, FurtherSet]]:
    known: dict[str, extensions.Corruption] = dict(extensions.known("corruptions"))
    families = {one.family for one in known.values()}
    if name == CORRUPTIONS:
        chosen = list(known)
    elif name in families:
        chosen = [one.name for one in known.values() if one.family == name]
    else:
        chosen = [extensions.resolve("corruptions", name)]
        if extensions.find("corruptions", chosen[0]) is None:
            if name in LEFT_OUT:
                raise InputError(f"--shift {text}: {name} is left out", LEFT_OUT[name])
            there = [test for task in tasks for test in task.tests]
            choices = [CORRUPTIONS, *sorted(families), *known, *there, *([DECLARED] if there else [])]
            raise UnknownNameError("corruption or test set", name, choices)
    for one in chosen:
        for severity in severities or extensions.SEVERITIES:
            yield f"{one}:{severity}", FurtherSet(corruption=one, severity=severity)
