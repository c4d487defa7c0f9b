"""Several processes train what one would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import small_world as world
from peers import together
from sparsebench.common import interruption
from sparsebench.schema import Numerics, RunError
from sparsebench.transfer.finetune import TrainingState, finetune, train_together, training
from sparsebench.transfer.finetune.parallel.batch_norm import SynchronisedBatchNorm
from sparsebench.transfer.finetune.parallel.team import find_team

SIX = {"epochs": 6, "milestones": (4,)}  # 24 steps


def run(
    processes: int, *, resume: TrainingState | None = None, dropout: float = 0.0, n_train: int = 51, **protocol: Any
) -> Any:
    """Train on 51 images (and 12 of val) in batches of 16; return the losses of all steps, and what it gives."""
    losses: list[float] = []
    original = training._Run._look

    def look(self: Any, pending: Any, epoch: int, first: int) -> list[float]:
        found = original(self, pending, epoch, first)
        losses.extend(found)
        return found

    training._Run._look = look  # in a process of its own, or put back
    try:
        found = finetune(
            world.backbone(sparsity=0.8, dropout=dropout),
            world.task_data(n_train=n_train),
            world.transform(shift=1),
            world.full_protocol(**protocol),
            3,
            numerics=Numerics(processes=processes),
            resume=resume,
        )
    finally:
        training._Run._look = original
    state = {name: value.numpy() for name, value in found.state_dict.items()}
    return (
        np.array(losses),
        found.test_logits,
        state,
        (found.train_loss, found.best_test or 0.0, found.mask_proof.nonzero),
    )


@pytest.mark.parametrize(
    ("processes", "protocol"),
    [
        (2, {}),
        (4, {"batch_size": 21}),
        pytest.param(3, {"microbatch": 5, "eval_test": "each_epoch"}, marks=pytest.mark.slow),
    ],
)
def test_they_follow_one_process(processes: int, protocol: dict[str, Any]) -> None:
    losses, logits, state, numbers = run(1, **SIX | protocol)
    answers = together(processes, lambda _: run(processes, **SIX | protocol))
    for found in answers:
        assert len(found[0]) == len(losses) >= 18
        np.testing.assert_allclose(found[0], losses, rtol=1e-5)
        np.testing.assert_allclose(found[1], logits, atol=1e-4)
        assert found[3] == pytest.approx(numbers, rel=1e-5)
        for name, value in state.items():
            np.testing.assert_allclose(found[2][name], value, rtol=1e-3, atol=1e-4, err_msg=name)
            assert np.array_equal(found[2][name], answers[0][2][name]), name  # all have the same bits
        assert np.array_equal(found[1], answers[0][1])


def test_local_batch_norm_and_8_bits_are_other_trainings() -> None:
    losses = run(1, **SIX)[0]
    local = together(2, lambda _: run(2, **SIX, parallel={"processes": 2, "batch_norm": "local"}))
    assert abs(local[0][0] / losses - 1).max() > 1e-3
    assert np.array_equal(local[0][1], local[1][1])
    rounded = together(2, lambda _: run(2, **SIX, parallel={"processes": 2, "exchange": "int8"}))[0]
    assert 1e-7 < abs(rounded[0] / losses - 1).max() < 1e-2  # what rounding leaves isn't lost


@pytest.mark.parametrize("exchange", ["int8", pytest.param("exact", marks=pytest.mark.slow)])
def test_stopped_they_go_on_to_the_same_bits(exchange: str, tmp_path: Path) -> None:
    """Dropout draws from the generator of each process, and 8 bits leave residuals: both are kept."""
    how = {"dropout": 0.3, "parallel": {"processes": 3, "exchange": exchange}}
    expected = together(3, lambda _: run(3, **how))

    def stopped(rank: int) -> bool:
        original, taken = training._Run._step, 0

        def step(self: Any, batch: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == 5 and rank == 1:
                interruption.request_stop("test")
            return original(self, batch)

        training._Run._step = step
        try:
            run(3, **how, resume=TrainingState(tmp_path, {}, writes=rank == 0))
        except interruption.Stopped:
            return taken == 5
        return False

    assert together(3, stopped) == [True, True, True]
    found = together(3, lambda rank: run(3, **how, resume=TrainingState(tmp_path, {}, writes=rank == 0)))
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one[1], other[1])
        assert one[3] == other[3]


def test_one_process_scores_what_they_left(tmp_path: Path) -> None:
    expected = together(2, lambda _: run(2))[0]

    def train(rank: int) -> dict[str, int]:
        return train_together(
            world.backbone(sparsity=0.8),
            world.task_data(n_train=51),
            world.transform(shift=1),
            world.full_protocol(),
            3,
            numerics=Numerics(processes=2),
            resume=TrainingState(tmp_path, {}, writes=rank == 0),
        )

    sent = together(2, train)[0]
    found = run(2, resume=TrainingState(tmp_path, {}))
    assert np.array_equal(found[1], expected[1])
    assert found[3] == expected[3]
    kept = world.backbone(sparsity=0.8)
    weights = sum(p.numel() for p in kept.module.parameters()) - int((~kept.masks["conv2.weight"]).sum())
    weights += world.CLASSES * 9  # the head
    assert sent["gradients"] == 2 * 4 * weights * 3 * 4  # both send each kept gradient once, in each of 12 steps


def test_one_process_alone_does_not_train(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="2 processes of the run have left no finished training"):
        run(2, resume=TrainingState(tmp_path, {}))


def test_all_of_them_see_a_loss_that_is_not_finite() -> None:
    def diverge(_: int) -> str:
        with pytest.raises(RunError) as caught:
            run(2, lr=1e12, **SIX)
        return str(caught.value)

    one, other = together(2, diverge)
    assert one == other
    with pytest.raises(RunError) as alone:
        run(1, lr=1e12, **SIX)
    assert one.partition("epoch")[2] == str(alone.value).partition("epoch")[2]  # at the same step


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.BatchNorm1d(4)])
def test_synchronised_batch_norm_has_the_gradients_of_one_process(layer: nn.Module) -> None:
    """Also where a process has one image, or none that counts."""
    shape = (7, 4, 3, 3) if isinstance(layer, nn.BatchNorm2d) else (7, 4)
    images = 5 + 2 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(1))

    def outputs(x: torch.Tensor, w: torch.Tensor) -> list[torch.Tensor]:
        norm = nn.Module.train(layer.__class__(4, affine=layer.affine))
        x = x.clone().requires_grad_()
        y = norm(x)
        (F.silu(y) * w).sum().backward()
        return [y.detach(), x.grad, norm.running_mean, norm.running_var, *(p.grad for p in norm.parameters())]

    expected = outputs(images, weights)
    rows = [slice(0, 6), slice(6, 7), slice(0, 1)]

    def work(rank: int) -> Any:
        counts = rank < 2
        with SynchronisedBatchNorm(find_team(3), counts=counts):
            return [value.numpy() for value in outputs(images[rows[rank]], weights[rows[rank]] * counts)]

    found = together(3, work)
    for k in (0, 1):
        got = np.concatenate([found[0][k], found[1][k]])
        np.testing.assert_allclose(got, expected[k].numpy(), rtol=1e-4, atol=1e-5)
    for k in (2, 3):
        assert all(np.array_equal(answer[k], found[0][k]) for answer in found)
        np.testing.assert_allclose(found[0][k], expected[k].numpy(), rtol=1e-5, atol=1e-6)
    for k in range(4, len(expected)):
        np.testing.assert_allclose(sum(answer[k] for answer in found), expected[k].numpy(), rtol=1e-4, atol=1e-5)
    assert not found[2][1].any()
