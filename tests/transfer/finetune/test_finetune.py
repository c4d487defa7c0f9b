from __future__ import annotations

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import small_world as world
from sparsebench.datasets.images.batches import EpochBatches
from sparsebench.models.masks import FoundMasks
from sparsebench.models.sparsity import measure
from sparsebench.schema import MaskError, Numerics, RunError
from sparsebench.transfer.finetune import evaluation, finetune
from sparsebench.transfer.finetune.shares import batch_sizes
from sparsebench.transfer.probes.base import default_linear


def run(backbone=None, data=None, *, seed=0, shift=0, numerics=None, progress=None, workers=0, **protocol):
    return finetune(
        backbone or world.backbone(sparsity=0.8),
        data or world.task_data(),
        world.transform(shift=shift),
        world.full_protocol(**protocol),
        seed,
        numerics=numerics or Numerics(),
        progress=progress,
        workers=workers,
    )


def same(first, second) -> bool:
    return np.array_equal(first.test_logits, second.test_logits) and all(
        torch.equal(value, second.state_dict[name]) for name, value in first.state_dict.items()
    )


def by_masked_gradients(backbone, data, protocol, seed):
    """The plain loop that full mode must equal: gradients masked, so that masked weights never move."""
    module = copy.deepcopy(backbone.module).train()
    head = nn.Linear(8, world.CLASSES)
    with torch.no_grad():
        for parameter, value in zip(head.parameters(), default_linear(world.CLASSES, 8, seed), strict=True):
            parameter.copy_(value)
    optimizer = torch.optim.SGD(
        [*module.parameters(), *head.parameters()],
        protocol.lr,
        momentum=protocol.momentum,
        weight_decay=protocol.weight_decay,
    )
    transform = world.transform()
    batches = EpochBatches(data.train, transform, protocol.batch_size, seed)
    for epoch in range(protocol.epochs):
        optimizer.param_groups[0]["lr"] = protocol.lr_at(epoch)
        for images, labels in batches.epoch(epoch):
            optimizer.zero_grad()
            F.cross_entropy(head(module(transform.normalise(images))), labels).backward()
            for name, mask in backbone.masks.items():
                module.get_parameter(name).grad.mul_(mask)
            optimizer.step()
    return {**module.state_dict(), "fc.weight": head.weight.detach(), "fc.bias": head.bias.detach()}


@pytest.mark.parametrize("sparsity", [0.0, 0.8])
def test_equals_training_with_masked_gradients(sparsity):
    backbone, data = world.backbone(sparsity=sparsity), world.task_data()
    found = run(backbone, data, seed=3, train_on="train")
    expected = by_masked_gradients(backbone, data, world.full_protocol(), 3)
    assert found.state_dict.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found.state_dict[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_mask_holds_even_from_a_dirty_start(momentum, weight_decay):
    backbone = world.backbone(sparsity=0.8, dirty=True)
    found = run(backbone, momentum=momentum, weight_decay=weight_decay)
    mask, weight = backbone.masks["conv2.weight"], found.state_dict["conv2.weight"]
    assert int((weight[~mask] != 0).sum()) == 0
    assert not torch.signbit(weight[~mask]).any()
    assert (found.mask_proof.masked, found.mask_proof.nonzero) == (int((~mask).sum()), 0)
    assert bool((weight[mask] != backbone.module.conv2.weight[mask]).any())


def test_what_stood_under_the_mask_does_not_matter():
    assert same(run(world.backbone(sparsity=0.8, dirty=True)), run(world.backbone(sparsity=0.8)))


def test_the_new_head_is_dense_and_everything_is_trained():
    backbone = world.backbone(sparsity=0.8)
    found = run(backbone)
    assert found.state_dict["fc.weight"].shape == (world.CLASSES, 8)
    assert int((found.state_dict["fc.weight"] == 0).sum()) == 0
    for name, value in backbone.module.named_parameters():
        assert not torch.equal(found.state_dict[name], value), name
    assert int(found.state_dict["bn1.num_batches_tracked"]) > 0


def test_a_dense_backbone_has_nothing_to_prove():
    found = run(world.backbone())
    assert (found.mask_proof.masked, found.mask_proof.nonzero) == (0, 0)
    assert found.mask_proof.sparsity == 0.0


def test_the_proof_says_what_was_held_and_how_many_zeros_were_not():
    backbone = world.backbone(sparsity=0.8)
    mask = backbone.masks["conv2.weight"]
    proof = run(backbone).mask_proof
    assert proof.sparsity == proof.masked / proof.weights
    assert (proof.masked, proof.unheld_zeros) == (int((~mask).sum()), 0)
    free = world.backbone()
    with torch.no_grad():
        free.module.conv2.weight.view(-1)[:3] = 0
    info = replace(free.info, sparsity=measure(free.module, FoundMasks()))
    assert run(replace(free, info=info)).mask_proof.unheld_zeros == 3


def test_masks_that_hold_less_than_was_reported_are_an_error():
    backbone = world.backbone(sparsity=0.8)
    with pytest.raises(MaskError, match=r"conv2\.weight was reported with \d+ weights held at zero"):
        run(replace(backbone, masks={}))


def test_it_learns():
    found = run(data=world.task_data(n_train=90), epochs=10, milestones=())
    accuracy = (found.test_logits.argmax(1) == world.task_data().test.labels).mean()
    assert accuracy > 0.8
    assert found.train_loss < run(epochs=1, milestones=()).train_loss


def test_a_seed_repeats_bit_for_bit_whatever_ran_before():
    backbone = world.backbone(sparsity=0.8, dropout=0.5)
    first = run(backbone, seed=4, shift=1)
    torch.manual_seed(1234)
    np.random.seed(1234)
    random.seed(1234)
    run(backbone, seed=5, shift=1)
    assert same(run(backbone, seed=4, shift=1), first)


def test_workers_do_not_change_the_numbers():
    assert same(run(seed=1, shift=1), run(seed=1, shift=1, workers=2))


def test_seeds_differ():
    assert not np.array_equal(run(seed=0).test_logits, run(seed=1).test_logits)


def test_the_backbone_and_the_global_generators_are_left_alone():
    backbone = world.backbone(sparsity=0.8, dropout=0.5, dirty=True)
    before = copy.deepcopy(backbone.module.state_dict())
    state = torch.random.get_rng_state()
    run(backbone)
    assert all(torch.equal(value, before[name]) for name, value in backbone.module.state_dict().items())
    assert not backbone.module.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_backbone_with_frozen_parameters_is_trained_all_the_same():
    backbone = world.backbone()
    frozen = world.FakeBackbone(copy.deepcopy(backbone.module).requires_grad_(False))
    assert same(run(frozen), run(backbone))


def test_best_test_only_where_each_epoch_is_evaluated():
    last, each = run(eval_test="last"), run(eval_test="each_epoch")
    assert last.best_test is None
    np.testing.assert_array_equal(each.test_logits, last.test_logits)
    accuracy = (each.test_logits.argmax(1) == world.task_data().test.labels).mean()
    assert 1.0 >= each.best_test >= accuracy


def test_best_test_is_in_the_tasks_metric(monkeypatch):
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: evaluation.Accuracy(top1=0.25, mean_per_class=0.75))
    assert run(eval_test="each_epoch").best_test == 0.25
    assert run(data=world.task_data(metric="mean_per_class"), eval_test="each_epoch").best_test == 0.75


def test_validation_scores_only_where_it_is_held_out():
    held_out = run(train_on="train")
    assert held_out.val_logits.shape == (12, world.CLASSES)
    assert run(train_on="trainval").val_logits is None
    assert run(data=world.task_data(n_val=0), train_on="train").val_logits is None
    assert not np.array_equal(held_out.test_logits, run(train_on="trainval").test_logits)


def test_a_nan_loss_names_epoch_and_step():
    backbone = world.backbone()
    with torch.no_grad():
        backbone.module.conv1.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(RunError, match="nan at epoch 0, step 0") as caught:
        run(backbone)
    assert "lower learning rate" in caught.value.hint


def test_a_diverging_run_is_an_error():
    with pytest.raises(RunError):
        run(lr=1e12, epochs=6, milestones=())


def test_a_mask_that_is_not_held_is_an_error(monkeypatch):
    monkeypatch.setattr("sparsebench.models.masks.MaskHolder.hold", lambda _self: None)
    with pytest.raises(MaskError, match=r"conv2\.weight"):
        run(world.backbone(sparsity=0.8))


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [(33, 16, [16, 17]), (18, 16, [16, 2]), (1, 1, [1]), (2, 1, [1, 1]), (4, 3, [4]), (0, 3, [])],
)
def test_a_lone_last_image_joins_the_batch_before(count, size, sizes):
    assert batch_sizes(count, size) == sizes


class OnePixel(nn.Module):
    """Ends in a batch norm over 1x1 maps, which has no variance over one image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, world.SIZE), nn.BatchNorm2d(8)

    def forward(self, x):
        return self.norm(self.conv(x)).flatten(1)


def test_one_image_left_over_does_not_break_batch_norm():
    found = run(world.FakeBackbone(OnePixel().eval()), world.task_data(n_train=33, n_val=0))
    assert np.isfinite(found.test_logits).all()


def test_mixed_precision_is_near_and_still_masked():
    exact, rough = run(), run(numerics=Numerics(precision="bf16"))
    assert rough.test_logits.dtype == np.float32
    assert rough.mask_proof.nonzero == 0
    assert not np.array_equal(rough.test_logits, exact.test_logits)
    np.testing.assert_allclose(rough.test_logits, exact.test_logits, atol=0.3)


@pytest.mark.slow
def test_compiled_training_is_near_and_still_masked():
    exact, compiled = run(), run(numerics=Numerics(compile=True))
    assert compiled.state_dict.keys() == exact.state_dict.keys()
    assert compiled.mask_proof.nonzero == 0
    np.testing.assert_allclose(compiled.test_logits, exact.test_logits, rtol=1e-3, atol=1e-3)


def test_memory_format_changes_speed_not_results():
    plain, last = run(numerics=Numerics(channels_last=False)), run(numerics=Numerics(channels_last=True))
    np.testing.assert_allclose(plain.test_logits, last.test_logits, rtol=1e-3, atol=1e-3)
    assert last.state_dict["conv2.weight"].is_contiguous()


def test_progress_ends_at_the_work_there_is():
    seen = []
    run(train_on="train", eval_test="each_epoch", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3 * 48 + 3 * 24 + 12,) * 2
