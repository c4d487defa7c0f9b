from __future__ import annotations

from collections.abc import Iterator

import pytest
from real_slurm import Slurm, started_slurm


@pytest.fixture(scope="session")
def _daemons() -> Iterator[Slurm]:
    with started_slurm() as slurm:
        yield slurm


@pytest.fixture
def slurm(_daemons: Slurm) -> Iterator[Slurm]:
    """A Slurm of one node whose queue is empty."""
    yield _daemons
    if _daemons.node_state().startswith("down"):
        _daemons.up()
    _daemons.clear()
