"""Pages of small made-up results."""

from __future__ import annotations

import pandas as pd
import pytest
from fixtures_seen import known, reader
from many import NASTY, make, many

from sparsebench.registry import Registry
from sparsebench.schema import Checkpoint, Task


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """Twelve checkpoints on three tasks in two modes."""
    return many(12, ("digits", "glyphs", "textures"))


@pytest.fixture(scope="session")
def registry() -> Registry:
    """One of the checkpoints and one of the tasks."""
    entry = Checkpoint(
        id="resnet50.dense", method="dense", arch="resnet50", sparsity=0.0, distribution="dense", licence="Apache-2.0",
        file={"path": "/secret/place/dense.pth"}, source="a paper", notes="A note.",
    )  # fmt: skip
    return Registry(
        checkpoints={entry.id: entry}, tasks={"digits": Task(id="digits", loader="digits", title="Handwritten digits")}
    )


@pytest.fixture(scope="session")
def page(frame: pd.DataFrame, registry: Registry) -> str:
    """The page of these."""
    return make(frame, registry)


@pytest.fixture(scope="session")
def seen_page(frame: pd.DataFrame, registry: Registry) -> str:
    """The page of these with class names, images, own heads and verdicts."""
    rated = frame.assign(verdict=["rescored" if "gmp" in name else None for name in frame["checkpoint"]])
    return make(rated, registry, predictions=reader(frame), **known())


@pytest.fixture(scope="session")
def nasty(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with names that would be markup if they weren't escaped."""
    changed = frame.copy()
    old_names = {
        "checkpoint": "resnet50.gmp_v1_s50", "task": "digits", "method": "rigl", "arch": "resnet50",
        "protocol": "cvpr22-linear", "numerics": "e46be135",
    }  # fmt: skip
    for column, old in old_names.items():
        changed[column] = changed[column].replace(old, f"{column}{NASTY}")
    return changed
