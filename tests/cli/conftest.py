from __future__ import annotations

from pathlib import Path

import pytest

from tasks_quick import quick_suite


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a suite of tasks that take no time."""
    return quick_suite(tmp_path_factory.mktemp("quick"))
