"""The embedded checkpoints are what they say: complete, exactly as sparse, and good enough upstream."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import sparsebench
from sparsebench.models.formats import sparse_file
from sparsebench.registry import load_registry
from sparsebench.schema import Checkpoint

ZOO = [c for c in load_registry().checkpoints.values() if c.arch == "mini"]
BY_ID = {c.id: c for c in ZOO}
SPARSE = [c for c in ZOO if c.method != "dense"]
PRUNABLE = 1_222_656
NOISE = 0.012  # of an upstream accuracy: 10,000 images, one seed

UNTRAINED = {"magnitude", "lth"}  # not trained since they were pruned
BEYOND = {"mini.cram_s95"}  # above the sparsities that it trained for


EMBEDDED = ("magnitude", "gmp", "acdc", "rigl", "str", "lth", "woodfisher", "mfac", "cram")


def top1(name: str) -> float:
    upstream = BY_ID[name].upstream
    assert upstream is not None
    assert upstream.top1 is not None
    return upstream.top1


def test_every_method_has_its_sparsities() -> None:
    wanted = {f"mini.{m}_s{s}" for m in EMBEDDED for s in (80, 90, 95)}
    assert {c.id for c in ZOO if not c.replicate} == wanted | {
        "mini.dense",
        "mini.acdc_2to4",
        "mini.acdc_s90_dense",
        "mini.cram_dense",
    }


@pytest.mark.parametrize("checkpoint", SPARSE, ids=lambda c: c.id)
def test_its_zeros_are_exactly_what_the_entry_says(checkpoint: Checkpoint) -> None:
    backbone = sparsebench.load(checkpoint.id)
    weights = [m.weight for n, m in backbone.module.named_modules() if isinstance(m, torch.nn.Conv2d) and n != "conv1"]
    assert sum(w.numel() for w in weights) == PRUNABLE
    zeros = sum(int((w == 0).sum()) for w in weights)
    assert zeros == round(checkpoint.sparsity * PRUNABLE)
    assert checkpoint.sparsity_exact == pytest.approx(zeros / PRUNABLE, abs=1e-8)
    assert sum(int((~m).sum()) for m in backbone.masks.values()) == zeros
    assert not (backbone.module.conv1.weight == 0).any()
    assert checkpoint.reference == ("mini.dense" if not checkpoint.replicate else f"mini.dense_r{checkpoint.replicate}")
    assert checkpoint.exempt == ("conv1", "fc")
    assert checkpoint.training is not None
    assert f"--method {checkpoint.method}" in checkpoint.training.command


def test_two_of_every_four_inputs_are_kept() -> None:
    backbone = sparsebench.load("mini.acdc_2to4")
    assert len(backbone.masks) == 11
    for name, mask in backbone.masks.items():
        weight = backbone.module.get_parameter(name)
        for tensor in (mask, weight != 0):
            assert bool((tensor.movedim(1, -1).unflatten(-1, (-1, 4)).sum(-1) == 2).all()), name


@pytest.mark.parametrize("method", EMBEDDED)
def test_a_methods_accuracy_falls_with_its_sparsity(method: str) -> None:
    names = ["mini.dense", *(f"mini.{method}_s{s}" for s in (80, 90, 95))]
    falling = [top1(name) for name in names]
    assert all(after <= before + NOISE for before, after in itertools.pairwise(falling)), falling


def test_trained_methods_keep_most_of_the_dense_accuracy() -> None:
    dense = top1("mini.dense")
    assert dense >= 0.27
    for checkpoint in SPARSE:
        if checkpoint.method in UNTRAINED or checkpoint.id in BEYOND:
            continue
        assert top1(checkpoint.id) >= 0.6 * dense, checkpoint.id


def test_cram_loses_less_by_one_shot_pruning_than_dense_does() -> None:
    lost = {
        m: 1 - top1(f"mini.{m}_s80") / top1(d) for m, d in (("cram", "mini.cram_dense"), ("magnitude", "mini.dense"))
    }
    assert lost["cram"] < lost["magnitude"]


@pytest.mark.parametrize(
    ("method", "base"), [("magnitude", "mini.dense"), ("lth", "mini.dense"), ("cram", "mini.cram_dense")]
)
@pytest.mark.parametrize("sparsity", [80, 90, 95])
def test_derived_checkpoints_keep_their_bases_weights(method: str, base: str, sparsity: int) -> None:
    dense, sparse = sparsebench.load(base, head=True), sparsebench.load(f"mini.{method}_s{sparsity}", head=True)
    assert sparse.info.path.stat().st_size < 0.2 * dense.info.path.stat().st_size
    assert sparse_file.describe(sparse.info.path)["base"]["file"] == dense.info.path.name  # type: ignore[index]
    own = dict(sparse.module.named_parameters())
    for name, weight in dense.module.named_parameters():
        mask = sparse.masks.get(name, torch.ones_like(weight, dtype=torch.bool))
        assert torch.equal(own[name], weight * mask)
    statistics = torch.equal(sparse.module.bn1.running_mean, dense.module.bn1.running_mean)
    assert statistics == (method == "lth")  # a ticket keeps the pretrained statistics, the others have new ones


def test_global_methods_keep_the_largest_of_the_dense_weights() -> None:
    dense = sparsebench.load("mini.dense").module
    for sparsity in (80, 90, 95):
        masks = sparsebench.load(f"mini.magnitude_s{sparsity}").masks
        kept = torch.cat([dense.get_parameter(n).detach()[m].abs() for n, m in masks.items()])
        gone = torch.cat([dense.get_parameter(n).detach()[~m].abs() for n, m in masks.items()])
        assert float(kept.min()) >= float(gone.max())
        assert math.isclose(len(gone) / PRUNABLE, sparsity / 100, abs_tol=1e-6)
