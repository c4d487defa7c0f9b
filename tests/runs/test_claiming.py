"""Many processes on one plan: each run is done once, by whoever claims it, and everybody reports all of them."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparsebench.api import Prepared, Request, execute, prepare
from sparsebench.common import files
from sparsebench.registry.selection import Selection
from sparsebench.runs import session
from sparsebench.runs.executors import protocol
from sparsebench.runs.executors.inline import InlineExecutor
from sparsebench.runs.options import RunOptions
from sparsebench.runs.plan import Plan
from sparsebench.runs.runner import Event, run_group
from sparsebench.schema import Group, RunSpec, Scores
from sparsebench.store import Claims, Predictions, Store, claims, gather
from sparsebench.store.recordfile import to_json
from tasks_quick import quick_suite


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_suite(tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="module")
def checked(tasks: Path) -> Prepared:
    """The quick suite on one checkpoint: a linear group of two seeds, a full one of one."""
    selection = Selection(suite="quick", checkpoints=["mini.acdc_s90"])
    return prepare(Request(selection, tasks_dirs=[tasks], results=tasks / "runs"))


@pytest.fixture
def prepared(checked: Prepared, tmp_path: Path) -> Prepared:
    """The plan, into a folder that doesn't exist yet."""
    return replace(checked, request=replace(checked.request, results=tmp_path / "runs"))


@pytest.fixture
def linear(prepared: Prepared) -> Group:
    return prepared.plan.groups[0]


@pytest.fixture
def results(prepared: Prepared) -> Path:
    return prepared.request.results


def finished(events: list[Event]) -> dict[str, str]:
    return {event.key: event.record.status for event in events if event.record is not None}


def started(events: list[Event]) -> list[str]:
    return [event.key for event in events if event.kind == "started"]


def claim_for(results: Path, run_id: str) -> Path:
    """Leave a claim as a living process on another machine would."""
    taken = datetime(2026, 1, 1, tzinfo=UTC)
    claim = claims.Claim(key=run_id, token="theirs", taken=taken, host="node17", machine="m", pid=1)
    path = results / "claims" / f"{run_id}.json"
    files.write_text(path, claim.model_dump_json())
    return path


def test_claims_are_held_while_a_run_is_done_and_gone_afterwards(linear: Group, results: Path) -> None:
    held: list[int] = []
    run_group(linear, RunOptions(results), lambda _: held.append(len(list((results / "claims").glob("*.json")))))
    assert held[0] == 2, "the seeds are fitted together, so they are claimed together"
    assert list((results / "claims").iterdir()) == []


def test_a_run_that_another_holds_comes_last_and_is_reported(
    linear: Group, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, mine = linear.runs
    path = claim_for(results, theirs.record_key)
    assert run_group(linear, RunOptions(results), lambda _: None, wait=False) == (theirs,)

    def other(*_: object) -> None:
        mimic = Store(results).find(mine)
        assert mimic is not None
        update = {"spec": theirs, "environment": {"python": "other"}}
        Store(results).write(mimic.record.model_copy(update=update))
        path.unlink()

    monkeypatch.setattr("sparsebench.runs.claiming.wait", other)
    events: list[Event] = []
    assert run_group(linear, RunOptions(results), events.append) == ()
    assert started(events) == []
    assert finished(events) == {mine.record_key: "ok", theirs.record_key: "ok"}
    assert events[-1].key == theirs.record_key
    assert events[-1].record is not None
    assert events[-1].record.environment == {"python": "other"}


def test_a_run_whose_holder_falls_silent_is_done_after_all(linear: Group, results: Path) -> None:
    claim_for(results, linear.runs[0].record_key)
    events: list[Event] = []
    run_group(linear, RunOptions(results, lease_seconds=0.3), events.append)
    assert started(events)[-1] == linear.runs[0].record_key
    assert set(finished(events).values()) == {"ok"}


def test_seeds_fitted_alone_give_the_numbers_of_seeds_fitted_together(linear: Group, tmp_path: Path) -> None:
    claim_for(tmp_path / "a", linear.runs[0].record_key)
    for name in "ab":
        run_group(linear, RunOptions(tmp_path / name, lease_seconds=0.3), lambda _: None)
    numbers = ["run_id", "top1", "train_loss"]
    pd.testing.assert_frame_equal(gather(tmp_path / "a")[numbers], gather(tmp_path / "b")[numbers])


@pytest.fixture(scope="module")
def one_failed(checked: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of the linear group, of which the second is a failure."""
    folder, group = tmp_path_factory.mktemp("failed") / "runs", checked.plan.groups[0]
    run_group(group, RunOptions(folder), lambda _: None)
    store = Store(folder)
    found = store.find(group.runs[1])
    assert found is not None
    store.write(found.record.model_copy(update={"status": "failed", "scores": None}))
    return folder


@pytest.mark.parametrize(
    ("overwrite", "since", "again"),
    [
        ("never", "before", []),
        ("failed", "before", []),
        ("always", "before", []),
        ("never", "after", []),
        ("failed", "after", ["failed"]),
        ("always", "after", ["ok", "failed"]),
        ("failed", None, ["failed"]),
        ("always", None, ["ok", "failed"]),
    ],
)
def test_which_records_are_good_enough(
    linear: Group, results: Path, one_failed: Path, overwrite: str, since: str | None, again: list[str]
) -> None:
    shutil.copytree(one_failed, results)
    names = dict(zip([run.record_key for run in linear.runs], ["ok", "failed"], strict=True))
    now = max(path.stat().st_mtime_ns for path in results.rglob("*.json"))
    moment = {"before": now - 10**10, "after": now + 10**10, None: None}[since]
    events: list[Event] = []
    run_group(linear, RunOptions(results, overwrite=overwrite, since=moment), events.append)  # type: ignore[arg-type]
    assert [names[run_id] for run_id in started(events)] == again
    assert len(finished(events)) == 2


def test_weights_that_were_not_kept_are_made(prepared: Prepared, results: Path) -> None:
    full = prepared.plan.groups[1]
    for save, times in ((False, 1), (True, 1), (True, 0)):
        events: list[Event] = []
        run_group(full, RunOptions(results, save_weights=save, since=0), events.append)
        assert len(started(events)) == times


def test_an_interrupt_gives_up_all_claims(linear: Group, results: Path) -> None:
    def stop(_: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_group(linear, RunOptions(results), stop)
    assert list((results / "claims").iterdir()) == []


def test_a_disk_that_takes_no_claim_fails_the_run_before_it_is_computed(
    linear: Group, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    events: list[Event] = []
    with monkeypatch.context() as patch:
        patch.setattr(claims, "_create", full)
        run_group(linear, RunOptions(results), events.append)
    assert set(finished(events).values()) == {"failed"}
    assert started(events) == []
    record = events[0].record
    assert record is not None
    assert record.failure is not None
    assert "can't claim the run" in record.failure.message
    run_group(linear, RunOptions(results), events.append)
    assert set(finished(events).values()) == {"ok"}


def test_a_claim_outlives_a_disk_slower_than_its_lease(
    linear: Group, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def slow(path: Path, data: bytes) -> None:
        if "records" in path.parts:
            for _ in range(4):
                time.sleep(0.2)
                with Claims(results, lease_seconds=0.5) as others:
                    asked.append(others.take(path.name.split(".")[-2]))
        write(path, data)

    write = files.write_bytes
    monkeypatch.setattr(files, "write_bytes", slow)
    run_group(linear, RunOptions(results, lease_seconds=0.5), lambda _: None)
    assert asked == [None] * 8


def test_all_options_reach_a_worker(linear: Group, tmp_path: Path) -> None:
    options = RunOptions(
        tmp_path, cache_dir=tmp_path / "c", save_weights=True, save_heads=False, predictions="classes", workers=3,
        overwrite="always", since=2**62, lease_seconds=7.5,
    )  # fmt: skip
    assert protocol.decode_job(protocol.encode_job(linear, options, wait=True)) == (linear, options, True)


def test_overwriting_always_does_everything_again_once(prepared: Prepared) -> None:
    for _ in range(2):
        events: list[Event] = []
        execute(replace(prepared, request=replace(prepared.request, overwrite="always")), events.append)
        assert sorted(started(events)) == sorted(run.record_key for run in prepared.plan.runs)


def racer(plan: Plan, results: Path, start: Any, report: Any) -> None:
    """Run a plan of made-up runs, and report which of them were begun here and which were told as done."""

    def quick(own: object, spec: RunSpec, progress: object, kept: object) -> object:
        time.sleep(random.uniform(0, 0.02))
        scores = Scores(top1=spec.seed / 100, mean_per_class=0.5, n_train=1, n_test=2, n_classes=2)
        logits = np.full((2, 2), spec.seed, dtype=np.float32)
        return session.Outcome(scores, Predictions.of(("a", "b"), np.array([0, 1]), logits))

    session.Session.run = quick  # type: ignore[assignment,method-assign]
    events: list[Event] = []
    start.wait()
    InlineExecutor().execute(plan, RunOptions(results, since=0), events.append)
    report.put((started(events), finished(events)))


def race(prepared: Prepared, racers: int, seeds: int) -> None:
    """Let so many processes loose on a plan, and check what they report and leave."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("processes can't be forked here")
    forks = multiprocessing.get_context("fork")  # importing torch so many times would be most of the test
    results = prepared.request.results
    groups = tuple(
        group.model_copy(update={"runs": tuple(group.runs[0].model_copy(update={"seed": s}) for s in range(seeds))})
        for group in prepared.plan.groups
    )
    start, report = forks.Barrier(racers), forks.Queue()
    processes = [forks.Process(target=racer, args=(Plan(groups), results, start, report)) for _ in range(racers)]
    for process in processes:
        process.start()
    reports = [report.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(30)
    ids = sorted(run.record_key for group in groups for run in group.runs)
    assert sorted(run_id for began, _ in reports for run_id in began) == ids, "no run was done twice"
    for _, told in reports:
        assert told == dict.fromkeys(told, "ok")
        assert sorted(told) == ids
    store = Store(results)
    records = store.read()
    assert sorted(record.record_key for record in records) == ids
    assert len(list(store.records_dir.rglob("*.json"))) == len(list(store.predictions_dir.iterdir())) == len(ids)
    for record in records:
        assert store.path_of(record).read_bytes() == to_json(record)
        assert store.predictions(record).logits[0, 0] == record.spec.seed
    assert list(store.claims_dir.iterdir()) == []
    assert not [path for path in results.rglob("*") if path.name.endswith(".tmp")]


def test_processes_racing_on_one_plan(prepared: Prepared) -> None:
    race(prepared, racers=4, seeds=12)


@pytest.mark.slow
def test_twenty_processes_racing_on_one_plan(prepared: Prepared) -> None:
    race(prepared, racers=20, seeds=60)
