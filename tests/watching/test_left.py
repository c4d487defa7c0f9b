"""The time left: a process does its runs one after the other; as many run at once as there are processes or jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from made_up_queue import claim, done, queue, submit

from executors.made_up import group
from sparsebench.schema import PlanFile, RunSpec
from sparsebench.store import Store
from sparsebench.store.plans import write_plan
from sparsebench.watching import look_over

pytestmark = pytest.mark.usefixtures("fake")

TEN = group("another", seeds=1)


@pytest.fixture(autouse=True)
def known(results: Path) -> None:
    """Runs of the plan take ten seconds, as one of another checkpoint has taught; so do those of full mode."""
    plan(results, TEN, group("another", mode="full", seeds=1), created="2026-01-01T00:00:00Z")
    done(results, *TEN.runs, *group("another", mode="full", seeds=1).runs)


def plan(results: Path, *groups: object, created: str) -> None:
    write_plan(Store(results).plans_dir, PlanFile(command="", created=created, groups=groups))  # type: ignore[arg-type]


def left(results: Path) -> float | None:
    return look_over(results).seconds_left


def test_seeds_that_a_process_claims_together_are_done_one_after_the_other(runs: list[RunSpec], results: Path) -> None:
    claim(results, *runs)
    assert left(results) == pytest.approx(60, abs=3)


def test_processes_work_at_once(runs: list[RunSpec], results: Path) -> None:
    claim(results, *runs[:4], host="a", machine="a")
    claim(results, *runs[4:], host="b", machine="b")
    assert left(results) == pytest.approx(40, abs=3)


def test_what_has_passed_counts_once_and_from_the_run_before(runs: list[RunSpec], results: Path) -> None:
    claim(results, *runs, ago=12)
    assert left(results) == pytest.approx(48, abs=3)
    began = datetime.now(UTC) - timedelta(seconds=12)
    done(results, runs[0], started=began.isoformat(), seconds=10.0)
    assert left(results) == pytest.approx(48, abs=3)


def test_the_rest_of_a_workstation_s_plan_counts(results: Path) -> None:
    wide = [group(mode="full", seeds=4), group("mini.gmp_s95", seeds=3), group("mini.dense", seeds=1)]
    plan(results, *wide, created="2026-01-02T00:00:00Z")
    claim(results, wide[0].runs[0], host="a", machine="a")
    claim(results, wide[0].runs[1], host="b", machine="b")
    # two of ten at work; to come: thirty in one piece, two of ten, one of ten
    assert left(results) == pytest.approx(40, abs=3)


def test_what_older_plans_lack_does_not_count(runs: list[RunSpec], results: Path) -> None:
    small = group(seeds=2)
    plan(results, small, created="2026-01-03T00:00:00Z")
    claim(results, *small.runs)
    assert left(results) == pytest.approx(20, abs=3), "the other four are of an older plan that nobody works on"


def test_jobs_of_slurm_run_at_once_and_the_queue_waits_for_them(fake: Path, runs: list[RunSpec], results: Path) -> None:
    made = submit(results, runs, each=2)
    queue(fake, made, "70_0", "70_1", "70_2")
    assert left(results) == pytest.approx(60, abs=3), "nothing runs yet: one job at a time is certain"
    (fake / "queue").write_text("")
    queue(fake, made, "70_0", "70_1", state="RUNNING")
    queue(fake, made, "70_2")
    claim(results, *runs[:2], job="70_0")
    assert left(results) == pytest.approx(40, abs=3), "two jobs at work, then a third"


def test_what_nobody_works_on_takes_no_time(runs: list[RunSpec], results: Path) -> None:
    assert left(results) is None
    done(results, *runs)
    assert left(results) is None
