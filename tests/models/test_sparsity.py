from __future__ import annotations

import copy
import json
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsebench.models import masks, sparsity
from sparsebench.models.formats import sparse_file
from sparsebench.models.masks import FoundMasks
from sparsebench.schema import MaskError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5), nn.Linear(5, 7))


def pruned(seed: int, shares: list[float]) -> tuple[nn.Sequential, FoundMasks]:
    """A network with a share of each layer's weights masked; a share of 0 gives no mask."""
    model, generator = network(), torch.Generator().manual_seed(seed)
    own = {
        name: torch.rand(w.shape, generator=generator) >= share
        for (name, w), share in zip(masks.prunable(model).items(), shares, strict=True)
        if share
    }
    masks.apply(model, own)
    return model, masks.find(model, own)


shares = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=3, max_size=3)


@given(seed=st.integers(0, 99), shares=shares)
def test_what_is_reported_is_what_masks_hold(seed: int, shares: list[float]) -> None:
    model, found = pruned(seed, shares)
    report = sparsity.measure(model, found)
    held = sum(int((~mask).sum()) for mask in found.masks.values())
    weights = [w for name, w in masks.prunable(model).items()]
    assert report.scope("prunable") == pytest.approx(held / sum(w.numel() for w in weights))
    assert report.scope("all_params") == pytest.approx(held / sum(p.numel() for p in model.parameters()))
    touched = sum(mask.numel() for mask in found.masks.values() if not mask.all())
    assert report.scope("pruned_layers") == pytest.approx(held / max(1, touched))
    assert report.held + report.unheld == sum(int((w == 0).sum()) for w in weights)


@given(seed=st.integers(0, 99), shares=shares, exempt=st.sampled_from([(), ("0",), ("0", "4")]))
def test_a_proof_counts_what_was_reported(seed: int, shares: list[float], exempt: tuple[str, ...]) -> None:
    model, found = pruned(seed, shares)
    report = sparsity.measure(model, found, exempt)
    proof = sparsity.prove(model, found.masks, report)
    assert proof.nonzero == 0
    assert proof.masked == report.held
    assert proof.sparsity == pytest.approx(report.scope("prunable"))
    assert proof.unheld_zeros == 0


def test_a_proof_leaves_the_head_out_and_counts_free_zeros() -> None:
    model, found = pruned(0, [0.5, 0.5, 0.9])
    with torch.no_grad():
        model[0].weight[found.masks["0.weight"]] *= torch.arange(int(found.masks["0.weight"].sum())) > 1
    report = sparsity.measure(model, found)
    body = copy.deepcopy(model)
    body[4] = nn.Identity()
    proof = sparsity.prove(body, found.only(dict(body.named_parameters())).masks, report)
    assert (proof.weights, proof.unheld_zeros) == (108 + 80, 2)
    assert proof.sparsity == pytest.approx(proof.masked / proof.weights)


@pytest.mark.parametrize("change", ["a mask is missing", "a mask is weaker"])
def test_a_proof_fails_where_less_is_held_than_was_reported(change: str) -> None:
    model, found = pruned(0, [0.0, 0.5, 0.9])
    report = sparsity.measure(model, found)
    held = dict(found.masks)
    if change == "a mask is missing":
        del held["3.weight"]
    else:
        held["3.weight"] = held["3.weight"].clone()
        held["3.weight"][0] = True
    with pytest.raises(MaskError, match=r"3\.weight was reported with \d+ weights held at zero, but its mask holds"):
        sparsity.prove(model, held, report)


def test_an_unknown_scope_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown sparsity scope"):
        sparsity.measure(network(), FoundMasks()).scope("layers")


def test_dense_ends_are_the_first_layer_and_the_head_of_a_pruned_network() -> None:
    model, found = pruned(0, [0.0, 0.5, 0.0])
    assert sparsity.dense_ends(model, found.masks, "4") == ("0", "4")
    ones = {**found.masks, "4.weight": torch.ones(7, 5, dtype=torch.bool)}
    assert sparsity.dense_ends(model, ones, "4") == ("0", "4"), "a mask of ones prunes nothing"
    assert sparsity.dense_ends(model, pruned(0, [0.5, 0.5, 0.0])[1].masks, "4") == ("4",)
    assert sparsity.dense_ends(model, {}, "4") == ()


@given(seed=st.integers(0, 99), shares=shares)
def test_the_packed_size_is_that_of_our_own_file_without_its_header(seed: int, shares: list[float]) -> None:
    model, found = pruned(seed, shares)
    state = {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    pruning = {name: mask for name, mask in found.masks.items() if not mask.all()}
    data = sparse_file.encode(state, pruning, {})
    length = struct.unpack("<Q", data[:8])[0]
    assert json.loads(data[8 : 8 + length])
    assert sparsity.packed_bytes(model.state_dict(), found.masks) == len(data) - 8 - length
