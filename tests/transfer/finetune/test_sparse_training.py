"""Full mode with engine ``sparse``: torch's numbers, fewer parameters in the optimizer, and the same guarantees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import small_world as world
from sparsebench.common import interruption
from sparsebench.common.interruption import Stopped
from sparsebench.engines.choice import pinned_training
from sparsebench.engines.sparse import available
from sparsebench.schema import InputError, Numerics, RunError
from sparsebench.transfer.finetune import FinetuneResult, TrainingState, finetune, training
from sparsebench.transfer.finetune.model import make_classifier

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

OURS = Numerics(engine="sparse")


def train(numerics: Numerics = OURS, resume: TrainingState | None = None, **protocol: Any) -> FinetuneResult:
    return finetune(
        world.backbone(sparsity=0.7),
        world.task_data(n_train=33),
        world.transform(shift=1),
        world.full_protocol(train_on="train", **protocol),
        5,
        numerics=numerics,
        resume=resume,
    )


def same(one: FinetuneResult, other: FinetuneResult) -> bool:
    states = ((value, other.state_dict[name]) for name, value in one.state_dict.items())
    return np.array_equal(one.test_logits, other.test_logits) and all(torch.equal(*pair) for pair in states)


@pytest.mark.parametrize("microbatch", [None, 5])
def test_it_trains_what_torch_trains(microbatch: int | None) -> None:
    found, expected = train(microbatch=microbatch), train(Numerics(), microbatch=microbatch)
    assert found.mask_proof == expected.mask_proof
    assert found.train_loss == pytest.approx(expected.train_loss, rel=1e-5)
    assert found.state_dict.keys() == expected.state_dict.keys()
    for name, value in expected.state_dict.items():
        torch.testing.assert_close(found.state_dict[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_threads_change_no_bit() -> None:
    assert same(train(), train(OURS.model_copy(update={"threads": 2})))


def test_the_optimizer_is_given_the_kept_weights_alone() -> None:
    backbone = world.backbone(sparsity=0.7)
    model = make_classifier(backbone, world.CLASSES, 0, OURS)
    masked = sum(int((~mask).sum()) for mask in backbone.masks.values())
    dense = sum(p.numel() for p in make_classifier(backbone, world.CLASSES, 0, Numerics()).trained())
    assert sum(p.numel() for p in model.trained()) == dense - masked


def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, original, taken = train(momentum=0.9), training._Run._step, 0

    def step(self: Any, batch: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == 3:
            interruption.request_stop("test")
        return original(self, batch)

    state = TrainingState(tmp_path, {"run": "abc"})
    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_step", step)
        with pytest.raises(Stopped):
            train(resume=state, momentum=0.9)
    interruption.clear()
    assert state.path.exists()
    assert same(train(resume=state, momentum=0.9), expected)


def test_a_training_that_diverges_is_an_error() -> None:
    with pytest.raises(RunError, match="loss is nan"):
        train(lr=1e30)


def test_a_plan_holds_the_engine_that_trains() -> None:
    backbone = world.backbone(sparsity=0.7)
    shape = (16, 3, world.SIZE, world.SIZE)

    def engine(name: str) -> str:
        return pinned_training(backbone.module, backbone.masks, Numerics(engine=name), shape).engine

    assert engine("sparse") == "sparse"
    assert engine("onnxruntime") == "torch"
    assert engine("auto") in ("sparse", "torch")
    dropping = world.backbone(sparsity=0.7, dropout=0.2)
    with pytest.raises(InputError, match="at random"):
        pinned_training(dropping.module, dropping.masks, OURS, shape)
    assert pinned_training(dropping.module, dropping.masks, Numerics(engine="auto"), shape).engine == "torch"
