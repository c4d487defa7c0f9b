"""The time left: the runs to come at the mean time of those like them, shared by the processes at work."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_queue import claim, done, queue, submit

from made_up import group
from sparsebench.runs.status import look_over
from sparsebench.schema import RunSpec

pytestmark = pytest.mark.usefixtures("fake")


def left(results: Path) -> float | None:
    return look_over(results).seconds_left


@pytest.fixture
def known(results: Path) -> None:
    """Runs take ten seconds, as one of another checkpoint has taught."""
    done(results, *group("another", seeds=1).runs)


@pytest.mark.usefixtures("known")
def test_a_process_will_come_to_what_its_plan_lacks(runs: list[RunSpec], results: Path) -> None:
    assert left(results) is None, "nobody is at work"
    claim(results, runs[0])
    assert left(results) == pytest.approx(60)
    done(results, *runs[3:])
    assert left(results) == pytest.approx(30)


@pytest.mark.usefixtures("known")
def test_processes_work_at_once(runs: list[RunSpec], results: Path) -> None:
    claim(results, *runs[:2], host="a", machine="a")
    claim(results, *runs[2:4], host="b", machine="b")
    assert left(results) == pytest.approx(30)


@pytest.mark.usefixtures("known")
def test_jobs_of_slurm_do_what_is_queued(fake: Path, runs: list[RunSpec], results: Path) -> None:
    made = submit(results, runs[:4], each=2)
    queue(fake, made, "70_0", state="RUNNING")
    queue(fake, made, "70_1")
    claim(results, runs[0], job="70_0")
    assert left(results) == pytest.approx(40)


def test_nothing_is_known_before_a_run_of_the_mode_has_ended(runs: list[RunSpec], results: Path) -> None:
    done(results, *group("another", mode="full", seeds=1).runs)
    claim(results, runs[0])
    assert left(results) is None
