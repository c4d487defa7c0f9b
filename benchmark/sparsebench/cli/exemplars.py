"""The images of exemplars for ``sparsebench analyze --figures``, where a task's licence lets them be shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.known import EMBEDDED
from ..schema import SparsebenchError, Task

if TYPE_CHECKING:
    from ..report.figures.canvas import Picture
    from ..report.measures import TaskMeasures

_FREE = ("cc0", "cc by", "public domain")
_NOT_FREE = ("-nc", "-nd", "non-commercial")


def may_be_shown(task: Task) -> bool:
    """Return whether a task's images may be reprinted: embedded ones, and those under a licence that says so."""
    licence = (task.licence or "").lower()
    free = licence.startswith(_FREE) and not any(word in licence for word in _NOT_FREE)
    return task.loader in EMBEDDED or free


def sheets(
    names: tuple[str, str], found: Sequence[TaskMeasures], tasks: dict[str, Task], data_dir: Path
) -> Iterator[Picture | str]:
    """Yield a contact sheet per task that has exemplars, or the reason why it has none.

    Parameters
    ----------
    names : tuple of str
        Both checkpoints.
    found : sequence of TaskMeasures
        By task.
    tasks : dict of str to Task
        The registered tasks.
    data_dir : Path
        Where data sets are.
    """
    import numpy as np

    from ..datasets import open_task
    from ..report.figures.exemplars import MOST, Shown, contact_sheet

    for one in found:
        if not one.populations.exemplars:
            continue
        task = tasks.get(one.task)
        if task is None:
            yield f"no sheet of {one.task}: it isn't a registered task"
        elif not may_be_shown(task):
            yield f"no sheet of {one.task}: its licence ({task.licence or 'none given'}) doesn't let images be shown"
        else:
            try:
                data = open_task(task, data_dir)
            except SparsebenchError as error:
                yield f"no sheet of {one.task}: {error.message}"
                continue
            places = {name: place for place, name in enumerate(data.test.ids)}
            few = [e for e in one.populations.exemplars if e.image in places][:MOST]
            shown = [
                Shown(
                    np.asarray(data.test.load(places[e.image]).convert("RGB")),
                    *(data.classes[number] for number in (e.label, e.first, e.second)),
                )
                for e in few
            ]
            if shown:
                yield contact_sheet(one.task, names, one.populations, shown, task.licence or "")
