"""What the registry says of a task's data is what is found when it is opened."""

from __future__ import annotations

import pytest

from sparsebench.datasets import open_task
from sparsebench.datasets.known import EMBEDDED, KnownTask, registered
from sparsebench.registry import load_tasks

TASKS = load_tasks().tasks


@pytest.mark.parametrize("name", sorted(EMBEDDED))
def test_registered_fingerprints_are_true(name: str) -> None:
    task = TASKS[name]
    assert registered(task) == KnownTask.of(open_task(task))


@pytest.mark.parametrize("change", [{"split_sha256": None}, {"sizes": None}, {"sizes": {"train": 1}}, {"limit": 30}])
def test_what_is_not_registered_must_be_opened(change: dict[str, object]) -> None:
    assert registered(TASKS["digits"].model_copy(update=change)) is None
    assert registered(TASKS["pets"]) is None
