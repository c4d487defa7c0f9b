from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparsebench import masks
from sparsebench.schema import MaskError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def test_prunable_are_conv_and_linear_weights_without_the_exempt() -> None:
    assert list(masks.prunable(network())) == ["0.weight", "3.weight"]
    assert list(masks.prunable(network(), exempt=["0"])) == ["3.weight"]


def test_infer_finds_zeros_and_gives_unpruned_layers_no_entry() -> None:
    model = network()
    with torch.no_grad():
        model[3].weight[:, ::2] = 0
    found = masks.infer(model)
    assert list(found) == ["3.weight"]
    assert torch.equal(found["3.weight"], model[3].weight != 0)


def test_a_chance_zero_does_not_make_a_network_sparse() -> None:
    model = nn.Linear(100, 100)
    with torch.no_grad():
        model.weight[0, 0] = 0
    assert masks.infer(nn.Sequential(model)) == {}


@settings(max_examples=25, deadline=None)
@given(
    momentum=st.sampled_from([0.0, 0.9]),
    decay=st.sampled_from([0.0, 5e-4]),
    nesterov=st.booleans(),
    seed=st.integers(0, 99),
)
def test_held_masks_stay_zero_even_from_a_dirty_momentum(
    momentum: float, decay: float, nesterov: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    model = nn.Linear(6, 5)
    optimizer = torch.optim.SGD(
        model.parameters(), 0.1, momentum, weight_decay=decay, nesterov=nesterov and momentum > 0
    )

    def step() -> None:
        optimizer.zero_grad()
        model(torch.randn(4, 6)).square().sum().backward()
        optimizer.step()

    step()  # fills the momentum off the mask
    mask = {"weight": torch.rand(5, 6) < 0.5}
    masks.apply(model, mask)
    holder = masks.MaskHolder(model, mask, optimizer)
    for _ in range(3):
        step()
        holder.hold()
    assert masks.prove(model, mask).nonzero == 0
    if momentum:
        assert torch.count_nonzero(optimizer.state[model.weight]["momentum_buffer"][~mask["weight"]]) == 0
    assert torch.count_nonzero(model.weight[mask["weight"]]) > 0


@pytest.mark.parametrize("value", [1e-30, float("nan"), float("inf")])
def test_proof_fails_for_anything_that_is_not_zero(value: float) -> None:
    model = nn.Linear(4, 4)
    mask = {"weight": torch.ones(4, 4, dtype=torch.bool)}
    mask["weight"][1, 2] = False
    masks.apply(model, mask)
    assert masks.prove(model, mask).masked == 1
    with torch.no_grad():
        model.weight[1, 2] = value
    with pytest.raises(MaskError, match=r"weight \(1 of 1\)"):
        masks.prove(model, mask)


def test_scopes_count_different_things() -> None:
    model = network()
    conv, linear = masks.prunable(model).values()
    mask = {"0.weight": torch.ones_like(conv, dtype=torch.bool), "3.weight": torch.zeros_like(linear, dtype=torch.bool)}
    masks.apply(model, mask)
    report = masks.measure(model, mask)
    assert report.scope("prunable") == pytest.approx(80 / (108 + 80))
    assert report.scope("pruned_layers") == 1.0
    chance = sum(int((p == 0).sum()) for p in model.parameters())  # batch norm starts with zero biases
    assert report.scope("all_params") == pytest.approx(chance / sum(p.numel() for p in model.parameters()))
    with pytest.raises(ValueError, match="unknown sparsity scope"):
        report.scope("layers")


def test_hash_depends_on_names_shapes_and_bits_not_on_order() -> None:
    a, b = torch.rand(3, 4) < 0.5, torch.rand(2) < 0.5
    assert masks.sha256({"a": a, "b": b}) == masks.sha256({"b": b, "a": a})
    assert masks.sha256({"a": a}) != masks.sha256({"b": a})
    assert masks.sha256({"a": a}) != masks.sha256({"a": ~a})
    assert masks.sha256({"a": a}) != masks.sha256({"a": a.view(4, 3)})


@pytest.mark.parametrize("nm", [(2, 4), (1, 4), (2, 8), (4, 8), (1, 2)])
def test_patterns_are_detected_and_sparse_masks_are_not_taken_for_one(nm: tuple[int, int]) -> None:
    n, m = nm
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(8, 16, 3, 3, generator=generator)
    groups = scores.permute(0, 2, 3, 1).reshape(-1, m)
    kept = groups >= groups.topk(n, dim=1).values[:, -1:]
    mask = kept.view(8, 3, 3, 16).permute(0, 3, 1, 2)
    linear = torch.arange(m).repeat(4, 3) < n
    assert masks.pattern({"a": mask, "b": linear}) == f"{n}:{m}"
    assert masks.pattern({"a": mask, "b": torch.rand(4, 16, generator=generator) < 0.6}) is None
    assert masks.pattern({"a": scores < 0.1}) is None
    assert masks.pattern({}) is None
