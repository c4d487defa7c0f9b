from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

import sparsebench
from sparsebench.api import Request, prepare
from sparsebench.common import files
from sparsebench.registry.selection import Selection
from sparsebench.runs import runner, session
from sparsebench.schema import InputError, Numerics
from sparsebench.store import Store
from sparsebench.store.claims import read_claims
from sparsebench.transfer import linear
from tasks_quick import quick_suite


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_suite(tmp_path_factory.mktemp("quick"))


def run(tasks: Path, results: Path, **more: object) -> pd.DataFrame:
    options = {"suite": "quick", "tasks_dirs": [tasks], "checkpoint": "mini.acdc_s90"} | more
    return sparsebench.run(results=results, **options)  # type: ignore[arg-type]


PROC = Path(f"/proc/self/task/{os.getpid()}/children")
NUMBERS = ["run_id", "top1", "mean_per_class", "train_loss"]


def test_a_plan_is_run_recorded_and_not_run_again(tasks: Path, tmp_path: Path) -> None:
    events: list[runner.Event] = []
    table = run(tasks, tmp_path / "runs", emit=events.append)
    assert len(table) == 3
    assert set(table["mode"]) == {"linear", "full"}
    assert (table["status"] == "ok").all()
    assert table["accuracy"].between(0, 1).all()
    assert table.loc[table["mode"] == "full", "masked_nonzero"].eq(0).all()
    assert (table.loc[table["mode"] == "full", "masked"] > 1_000_000).all()
    assert sum(e.kind == "done" for e in events) == 3
    again: list[runner.Event] = []
    pd.testing.assert_frame_equal(run(tasks, tmp_path / "runs", emit=again.append), table)
    assert again == []
    pd.testing.assert_frame_equal(sparsebench.results(tmp_path / "runs"), table)


def test_a_checkpoint_is_loaded_once_for_all_its_groups_and_changes_no_number(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSEBENCH_CACHE", str(tmp_path / "cold"))
    read: list[str] = []
    load = session.load_entry
    monkeypatch.setattr(session, "load_entry", lambda entry, **how: read.append(entry.id) or load(entry, **how))
    plan = {"mode": "linear", "probe": ["sgd", "ridge"]}
    both = run(tasks, tmp_path / "both", **plan | {"checkpoint": ["mini.acdc_s90", "mini.dense"]})
    assert sorted(read) == ["mini.acdc_s90", "mini.dense"]
    monkeypatch.setenv("SPARSEBENCH_CACHE", str(tmp_path / "colder"))
    apart = run(tasks, tmp_path / "apart", **plan)[NUMBERS].sort_values("run_id", ignore_index=True)
    same = both.loc[both["checkpoint"] == "mini.acdc_s90", NUMBERS].sort_values("run_id", ignore_index=True)
    pd.testing.assert_frame_equal(same, apart)


def children() -> list[int]:
    """Return the processes that this one has started, where the system tells."""
    return [int(pid) for pid in PROC.read_text().split()] if PROC.exists() else []


@pytest.mark.slow
def test_the_same_numbers_again_without_the_cache_on_two_workers_one_of_which_is_killed(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, killed = children(), []

    def kill_one(event: runner.Event) -> None:
        if event.kind == "started" and not killed:
            killed.extend([pid for pid in children() if pid not in others][:1])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    first = run(tasks, tmp_path / "a")
    monkeypatch.setenv("SPARSEBENCH_CACHE", str(tmp_path / "cold"))
    second = run(tasks, tmp_path / "b", jobs=2, emit=kill_one, retries=2)
    assert len(killed) == 1 or not PROC.exists()
    assert second["status"].tolist() == ["ok"] * 3
    pd.testing.assert_frame_equal(first[NUMBERS], second[NUMBERS])
    a, b = Store(tmp_path / "a"), Store(tmp_path / "b")
    for one, two in zip(a.read(), b.read(), strict=True):
        np.testing.assert_array_equal(a.predictions(one).logits, b.predictions(two).logits)


def test_records_hold_predictions_and_no_place_of_this_machine(tasks: Path, tmp_path: Path) -> None:
    run(tasks, tmp_path / "runs", mode="linear", seed=0)
    (record,) = Store(tmp_path / "runs").read()
    predictions = Store(tmp_path / "runs").predictions(record)
    assert record.scores is not None
    assert (predictions.logits.argmax(1) == predictions.labels).mean() == pytest.approx(record.scores.top1)
    text = next((tmp_path / "runs" / "records").rglob("*.json")).read_text()
    assert str(tmp_path) not in text
    assert str(tasks) not in text


def test_run_ids_depend_on_content_not_on_names(tasks: Path, tmp_path: Path) -> None:
    def ids(**more: object) -> list[str]:
        selection = Selection(suite="quick", checkpoints=["mini.acdc_s90"], modes=["linear"], **more)  # type: ignore[arg-type]
        request = Request(selection, tasks_dirs=[tasks], results=tmp_path / "none")
        return [r.record_key for r in prepare(request).plan.runs]

    assert ids() == ids()
    assert len(set(ids(seeds=[0, 1, 2]))) == 3
    path = sparsebench.load("mini.acdc_s90").info.path
    copy = tmp_path / "another_name.safetensors"
    copy.write_bytes(path.read_bytes())
    request = Request(
        Selection(suite="quick", checkpoints=[str(copy)], modes=["linear"]),
        tasks_dirs=[tasks],
        results=tmp_path / "none",
    )
    assert [r.record_key for r in prepare(request).plan.runs] == ids()
    assert not (tmp_path / "none").exists()  # preparing writes nothing


def test_equal_checkpoints_are_run_once_and_shown_under_the_asked_name(tasks: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(sparsebench.load("mini.acdc_s90").info.path.read_bytes())
    one = {"mode": "linear", "seed": 0}
    with pytest.warns(UserWarning, match=r"copy holds the same weights and mask as mini\.acdc_s90"):
        both = run(tasks, tmp_path / "runs", checkpoint=["mini.acdc_s90", copy], **one)
    assert both["checkpoint"].tolist() == ["mini.acdc_s90"]
    assert run(tasks, tmp_path / "runs", checkpoint=copy, **one)["checkpoint"].tolist() == ["copy"]
    assert len(sparsebench.results(tmp_path / "runs")) == 1


def test_saved_weights_keep_the_mask_and_load_again(tasks: Path, tmp_path: Path) -> None:
    run(tasks, tmp_path / "runs", mode="full", save_weights=True)
    (record,) = Store(tmp_path / "runs").read()
    assert record.weights_file is not None
    path = tmp_path / "runs" / record.weights_file
    state = load_file(path)
    start = sparsebench.load("mini.acdc_s90")
    for name, mask in start.masks.items():
        assert int((state[name][~mask] != 0).sum()) == 0
    assert any(not np.array_equal(state[n], p.detach()) for n, p in start.module.named_parameters())
    assert sparsebench.load(path, arch="mini", head=True).info.num_classes == 3


def test_a_failing_run_leaves_a_failure_record_and_the_others_go_on(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = linear.probes.get("sgd")

    def sometimes(*arguments: object, **more: object) -> object:
        if 0 in arguments[2]:
            raise ZeroDivisionError("on purpose")
        return fit(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(linear.probes, "get", lambda name: sometimes)
        table = run(tasks, tmp_path / "runs", mode="linear")
    assert table.set_index("seed")["status"].to_dict() == {0: "failed", 1: "ok"}
    assert table.set_index("seed").loc[0, "error"] == "ZeroDivisionError: on purpose"
    kept = run(tasks, tmp_path / "runs", mode="linear", overwrite="never")
    assert kept["status"].tolist() == ["failed", "ok"]
    mended = run(tasks, tmp_path / "runs", mode="linear")
    assert mended["status"].tolist() == ["ok", "ok"]


def test_a_full_disk_fails_the_run_and_keeps_earlier_records(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(tasks, tmp_path / "runs", mode="linear", seed=0)

    write = files.write_bytes

    def full(path: Path, data: bytes) -> None:
        if "plans" not in path.parts:
            raise OSError(28, "No space left on device")
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_bytes", full)
        table = run(tasks, tmp_path / "runs", mode="linear")
    assert table.set_index("seed")["status"].to_dict() == {0: "ok", 1: "failed"}
    assert "No space left" in table.set_index("seed").loc[1, "error"]
    pd.testing.assert_frame_equal(sparsebench.results(tmp_path / "runs"), before)


def test_a_worker_that_is_killed_fails_its_run_alone_and_the_rest_goes_to_an_idle_one(
    tasks: Path, tmp_path: Path
) -> None:
    seeds, held, done = [0, 1], [], []

    def hold_one_until_the_other_is_idle(event: runner.Event) -> None:
        if event.kind == "started" and not held:
            claim = next(found.claim for found in read_claims(tmp_path / "runs") if found.claim.key == event.key)
            held.append(claim.pid)
            os.kill(claim.pid, signal.SIGSTOP)
        if event.kind == "done":
            done.append(event.key)
            if len(done) == len(seeds):  # one whole group: its worker has nothing left to do
                os.kill(held[0], signal.SIGKILL)

    both = {"mode": "linear", "seed": seeds, "checkpoint": ["mini.acdc_s90", "mini.gmp_s90"]}
    table = run(tasks, tmp_path / "runs", jobs=2, emit=hold_one_until_the_other_is_idle, retries=0, **both)
    assert len(table) == 2 * len(seeds)
    worked = (table["status"] == "ok").to_numpy()
    assert np.count_nonzero(worked) == 2 * len(seeds) - 1
    whole = run(tasks, tmp_path / "runs", **both)
    assert (whole["status"] == "ok").all()
    here = run(tasks, tmp_path / "here", **both)
    pd.testing.assert_frame_equal(here[NUMBERS], whole[NUMBERS])
    pd.testing.assert_frame_equal(here.loc[worked, NUMBERS], table.loc[worked, NUMBERS])


def test_a_failure_does_not_replace_a_finished_run(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(tasks, tmp_path / "runs", mode="linear", seed=0)

    def fail(*_: object, **__: object) -> object:
        raise MemoryError("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(linear.probes, "get", lambda name: fail)
        again = run(tasks, tmp_path / "runs", mode="linear", seed=0, overwrite="always")
    assert again["status"].tolist() == ["failed"]
    pd.testing.assert_frame_equal(sparsebench.results(tmp_path / "runs"), before)


def test_weights_asked_for_later_are_made_later(tasks: Path, tmp_path: Path) -> None:
    run(tasks, tmp_path / "runs", mode="full")
    assert not (tmp_path / "runs" / "weights").exists()
    run(tasks, tmp_path / "runs", mode="full", save_weights=True)
    assert len(list((tmp_path / "runs" / "weights").iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": "2"}, "--jobs '2'"),
        ({"seed": "0"}, "--seed '0' is not a seed"),
        ({"seed": 0.5}, "--seed 0.5 is not a seed"),
        ({"sparsity": "0.9", "checkpoint": None}, "--sparsity '0.9' is not a sparsity"),
        ({"threads": 0}, "threads=0"),
        ({"precision": "fp8"}, "precision='fp8'"),
        ({"job": 2}, "unknown option 'job' .did you mean jobs"),
        ({"data_dir": "no/such"}, "no/such is not a folder"),
        ({"checkpoint": "mini.dense", "arch": "resnet18"}, "has architecture mini"),
    ],
)
def test_mistakes_in_a_call_are_input_errors(
    options: dict[str, object], message: str, tasks: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        run(tasks, tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_threads_are_part_of_the_plan_and_left_as_they_were(tasks: Path, tmp_path: Path) -> None:
    import torch

    torch.set_num_threads(2)
    table = run(tasks, tmp_path / "runs", mode="linear", seed=0, numerics=Numerics(threads=1))
    assert table["threads"].tolist() == [1]
    assert torch.get_num_threads() == 2


def test_workers_that_never_get_ready_end_the_plan_with_a_reason(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsebench.runs.executors.local.sys.executable", shutil.which("false"))
    with pytest.raises(sparsebench.SparsebenchError, match="3 worker processes in a row ended before they were ready"):
        run(tasks, tmp_path / "runs", jobs=2, mode="linear", checkpoint=["mini.acdc_s90", "mini.gmp_s90"])
