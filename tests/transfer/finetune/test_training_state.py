"""A finetuning that is stopped goes on from where it was, to the same numbers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import small_world as world
from sparsebench.common import interruption
from sparsebench.common.interruption import Stopped
from sparsebench.schema import Numerics
from sparsebench.transfer import grid_search
from sparsebench.transfer.finetune import FinetuneResult, TrainingState, evaluation, finetune, training, training_state
from sparsebench.transfer.finetune.training_state import Training, UnsavedStateWarning, UnusableStateWarning

IDENTITY = {"run": "abc", "numerics": {"threads": 1}}


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    interruption.clear()
    yield
    interruption.clear()


def train(resume: TrainingState | None = None, *, n_train: int = 33, **protocol: Any) -> FinetuneResult:
    """33 images in batches of 16: the last, lone one belongs to the step before it. Dropout draws random numbers."""
    return finetune(
        world.backbone(sparsity=0.7, dropout=0.2),
        world.task_data(n_train=n_train),
        world.transform(shift=1),
        world.full_protocol(train_on="train", **protocol),
        5,
        numerics=Numerics(),
        resume=resume,
    )


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for a stop once so many optimizer steps are taken."""
    taken = 0
    original = training._Run._step

    def step(self: Any, batch: Any) -> Any:
        nonlocal taken
        taken += 1
        loss = original(self, batch)
        if taken == steps:
            interruption.request_stop("test")
        return loss

    monkeypatch.setattr(training._Run, "_step", step)


def assert_same(one: FinetuneResult, other: FinetuneResult) -> None:
    assert np.array_equal(one.test_logits, other.test_logits)
    assert (one.val_logits is None) == (other.val_logits is None)
    if one.val_logits is not None and other.val_logits is not None:
        assert np.array_equal(one.val_logits, other.val_logits)
    assert (one.train_loss, one.best_test) == (other.train_loss, other.best_test)
    assert one.state_dict.keys() == other.state_dict.keys()
    for name, value in one.state_dict.items():
        assert torch.equal(value, other.state_dict[name]), name


@pytest.mark.parametrize("eval_test", ["last", "each_epoch"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6])
def test_stopped_at_any_step_it_ends_in_the_same_bits(
    steps: int, eval_test: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(eval_test=eval_test)
    resume = TrainingState(tmp_path / "run", IDENTITY)
    with monkeypatch.context() as patch:
        stop_after(steps, patch)
        with pytest.raises(Stopped, match="test"):
            train(resume, eval_test=eval_test)
    interruption.clear()
    torch.manual_seed(99)  # what the process has drawn before makes no difference
    assert_same(train(TrainingState(tmp_path / "run", IDENTITY), eval_test=eval_test), expected)


def test_states_written_on_the_way_serve_a_killed_training_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = train()
    taken = 0
    original = training._Run._step

    def step(self: Any, batch: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == 5:
            raise KeyboardInterrupt  # as good as a kill: nothing is written any more
        return original(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_step", step)
        with pytest.raises(KeyboardInterrupt):
            train(TrainingState(tmp_path, IDENTITY, every=0.0))
    again = 0

    def count(self: Any, batch: Any) -> Any:
        nonlocal again
        again += 1
        return original(self, batch)

    monkeypatch.setattr(training._Run, "_step", count)
    assert_same(train(TrainingState(tmp_path, IDENTITY, every=0.0)), expected)
    assert again == 2  # of six steps: four were done and written down


def test_a_stopped_search_trains_no_point_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = {"lr": [0.02, 0.05], "weight_decay": [0.0]}
    protocol = world.full_protocol(grid=grid, weight_decay=0.0)
    fixed = (world.backbone(sparsity=0.5), world.task_data(), world.transform(), protocol, 0)
    expected = grid_search.search_grid(*fixed, numerics=Numerics())
    with monkeypatch.context() as patch:
        stop_after(11, patch)  # nine steps a point: in the middle of the second
        with pytest.raises(Stopped):
            grid_search.search_grid(*fixed, numerics=Numerics(), resume=TrainingState(tmp_path, IDENTITY))
    interruption.clear()
    steps = 0
    original = training._Run._step

    def count(self: Any, batch: Any) -> Any:
        nonlocal steps
        steps += 1
        return original(self, batch)

    monkeypatch.setattr(training._Run, "_step", count)
    assert grid_search.search_grid(*fixed, numerics=Numerics(), resume=TrainingState(tmp_path, IDENTITY)) == expected
    assert steps == 7


def stopped_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingState:
    resume = TrainingState(folder, IDENTITY)
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(Stopped):
            train(resume)
    interruption.clear()
    return resume


@pytest.mark.parametrize("eval_test", ["last", "each_epoch"])
def test_stopped_while_it_is_scored_it_trains_no_step_again(
    eval_test: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(eval_test=eval_test)
    original, taken = training._Run._step, 0

    def step(self: Any, batch: Any) -> Any:
        nonlocal taken
        taken += 1
        return original(self, batch)

    def stop(*arguments: Any, **options: Any) -> Any:
        interruption.request_stop("test")
        return batches(*arguments, **options)

    batches = evaluation.evaluation_batches
    monkeypatch.setattr(training._Run, "_step", step)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluation_batches", stop)
        with pytest.raises(Stopped):
            train(TrainingState(tmp_path, IDENTITY), eval_test=eval_test)
    interruption.clear()
    assert_same(train(TrainingState(tmp_path, IDENTITY), eval_test=eval_test), expected)
    assert taken == 6


@pytest.mark.parametrize("kind", ["full disk", "in the way", "no memory"])
def test_a_state_that_cant_be_written_is_a_warning(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = train()
    if kind == "in the way":
        (tmp_path / "run").write_text("a file")
    else:
        error = OSError(28, "No space left on device") if kind == "full disk" else MemoryError()
        monkeypatch.setattr(training_state, "write_bytes", lambda *_: (_ for _ in ()).throw(error))
    with pytest.warns(UnsavedStateWarning, match="can't be written"):
        found = train(TrainingState(tmp_path / "run", IDENTITY, every=0.0))
    assert_same(found, expected)
    stop_after(2, monkeypatch)
    with pytest.warns(UnsavedStateWarning), pytest.raises(Stopped):
        train(TrainingState(tmp_path / "run", IDENTITY))
    with pytest.warns(UnsavedStateWarning):
        TrainingState(tmp_path / "run", IDENTITY).write_json("trials", [])


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_isnt_a_file_is_no_state(put: Any, tmp_path: Path) -> None:
    put(tmp_path / "training.pt")
    put(tmp_path / "trials.json")
    resume = TrainingState(tmp_path, IDENTITY)
    with pytest.warns(UnusableStateWarning):
        assert_same(train(resume), train())
    with pytest.warns(UnusableStateWarning):
        assert resume.read_json("trials") is None


@pytest.mark.parametrize("damage", ["empty", "half", "noise", "other keys", "foreign", "other shapes"])
def test_a_damaged_or_foreign_state_is_passed_over(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume = stopped_state(tmp_path, monkeypatch)
    data = resume.path.read_bytes()
    if damage == "empty":
        resume.path.write_bytes(b"")
    elif damage == "half":
        resume.path.write_bytes(data[: len(data) // 2])
    elif damage == "noise":
        resume.path.write_bytes(bytes(range(256)))
    elif damage == "foreign":
        resume = TrainingState(tmp_path, IDENTITY | {"run": "another"})
    else:
        state = torch.load(resume.path, weights_only=True)
        if damage == "other keys":
            del state["optimizer"]
        else:
            state["model"]["head.weight"] = torch.zeros(7, 7)
        torch.save(state, resume.path)
    with pytest.warns(UnusableStateWarning, match="starts anew"):
        found = train(resume)
    assert_same(found, train())


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Run:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    resume = stopped_state(tmp_path / "state", monkeypatch)
    torch.save({"version": 1, "x": Run()}, resume.path)
    with pytest.warns(UnusableStateWarning):
        train(resume)
    assert not (tmp_path / "ran").exists()


def test_the_loss_scale_of_half_precision_is_part_of_the_state(tmp_path: Path) -> None:
    def fresh() -> Training:
        model = torch.nn.Linear(2, 2)
        return Training(
            model, torch.optim.SGD(model.parameters(), 0.1), torch.amp.GradScaler("cpu", init_scale=8.0),
            torch.device("cpu"),
        )  # fmt: skip

    before = fresh()
    before.scaler.scale(torch.tensor(1.0))  # makes the scale
    before.scaler.update(2.0)
    resume = TrainingState(tmp_path, IDENTITY)
    resume.save(before, training.Position(1, 2, (0.5,), None, 0.7))
    after = fresh()
    assert resume.restore(after) == training.Position(1, 2, (0.5,), None, 0.7)
    assert after.scaler.get_scale() == 2.0


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_first_ctrl_c_writes_the_state_and_a_second_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = training._Run._step
    taken = 0

    def step(self: Any, batch: Any) -> Any:
        nonlocal taken
        taken += 1
        loss = original(self, batch)
        if taken == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_step", step)
        with pytest.raises(KeyboardInterrupt):
            train(TrainingState(tmp_path, IDENTITY))
    assert signal.getsignal(signal.SIGINT) is before
    assert not interruption.stop_requested()
    assert (tmp_path / "training.pt").exists()
    assert_same(train(TrainingState(tmp_path, IDENTITY)), train())
    with pytest.raises(KeyboardInterrupt):
        interrupt_twice()


def interrupt_twice() -> None:
    with interruption.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.stop_requested()
        time.sleep(0.15)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("a second interrupt must not wait")


def test_parts_of_a_batch_add_up_to_it() -> None:
    whole = train(n_train=32)
    assert_same(finetune_in_parts(16), whole)  # one part: the same program
    parts = finetune_in_parts(5)
    assert not np.array_equal(parts.test_logits, whole.test_logits)  # batch norm sees five images
    assert parts.mask_proof == whole.mask_proof


def finetune_in_parts(size: int) -> FinetuneResult:
    return finetune(
        world.backbone(sparsity=0.7, dropout=0.2),
        world.task_data(n_train=32),
        world.transform(shift=1),
        world.full_protocol(train_on="train", microbatch=size),
        5,
        numerics=Numerics(),
    )


def test_without_batch_norm_parts_give_the_gradients_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(size: int | None) -> FinetuneResult:
        backbone = world.backbone(sparsity=0.5)
        for name in ("bn1", "bn2"):
            setattr(backbone.module, name, torch.nn.Identity())
        settings = world.full_protocol(train_on="train", epochs=1, milestones=(), microbatch=size)
        data = world.task_data(n_train=33)
        return finetune(backbone, data, world.transform(), settings, 0, numerics=Numerics())

    whole, parts = run(None), run(4)
    assert parts.train_loss == pytest.approx(whole.train_loss, rel=1e-5)
    np.testing.assert_allclose(parts.test_logits, whole.test_logits, rtol=1e-4, atol=1e-5)
