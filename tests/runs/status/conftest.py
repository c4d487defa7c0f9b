from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_up_queue import SCANCEL, SQUEUE

from made_up import group
from sparsebench.schema import PlanFile, RunSpec
from sparsebench.store import Store
from sparsebench.store.plans import write_plan


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with Slurm's commands; what they answer and were asked is in its files."""
    folder = tmp_path / "fake"
    folder.mkdir()
    for name, text in {"squeue": SQUEUE, "scancel": SCANCEL}.items():
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)
    (folder / "queue").write_text("")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def runs(results: Path) -> list[RunSpec]:
    """A plan of six runs, on disk."""
    planned = group(seeds=6)
    write_plan(Store(results).plans_dir, PlanFile(command="", created="2026-01-02T03:04:05Z", groups=(planned,)))
    return list(planned.runs)
