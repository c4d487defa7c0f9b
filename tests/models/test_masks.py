from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsebench.models import masks
from sparsebench.schema import CheckpointError, MaskError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def test_prunable_are_conv_and_linear_weights_without_the_exempt() -> None:
    assert list(masks.prunable(network())) == ["0.weight", "3.weight"]
    assert list(masks.prunable(network(), exempt=["0"])) == ["3.weight"]


def test_attention_keeps_prunable_weights_of_its_own() -> None:
    model = nn.Sequential(nn.MultiheadAttention(8, 2), nn.MultiheadAttention(8, 2, kdim=4, vdim=4))
    assert [name for name in masks.prunable(model) if name.startswith("0.")] == [
        "0.in_proj_weight",
        "0.out_proj.weight",
    ]
    assert len(masks.prunable(model)) == 6
    assert "0.in_proj_weight" not in masks.prunable(model, exempt=["0.in_proj_weight"])


@given(
    zeros=st.lists(st.integers(0, 400), min_size=3, max_size=3), own=st.sets(st.integers(0, 2)), seed=st.integers(0, 9)
)
def test_each_layer_has_its_own_mask_else_one_of_its_zeros_if_they_are_not_chance(
    zeros: list[int], own: set[int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(*(nn.Linear(20, 20) for _ in range(3)))
    kept = {}
    for number, count in enumerate(zeros):
        mask = torch.ones(400, dtype=torch.bool)
        mask[torch.randperm(400, generator=generator)[:count]] = False
        kept[number] = mask.view(20, 20)
        with torch.no_grad():
            model[number].weight.copy_((torch.rand(20, 20, generator=generator) + 1) * kept[number])
    found = masks.find(model, {f"{n}.weight": kept[n] for n in own})
    for number, count in enumerate(zeros):
        name = f"{number}.weight"
        assert (name in found.masks) == (number in own or count >= 4), "4 of 400 are one in a hundred"
        if name in found.masks:
            assert torch.equal(found.masks[name], kept[number])
            ones = bool(kept[number].all())
            assert found.sources[name] == ("file" if number in own or ones else "zeros")
    assert list(found.sources) == list(found.masks)


def test_a_mask_of_ones_over_zeros_says_nothing_and_one_of_a_dense_layer_stays() -> None:
    model = network()
    ones = {name: torch.ones_like(w, dtype=torch.bool) for name, w in masks.prunable(model).items()}
    with torch.no_grad():
        model[3].weight[:, ::2] = 0
    found = masks.find(model, ones)
    assert found.sources == {"0.weight": "file", "3.weight": "zeros"}
    assert torch.equal(found.masks["3.weight"], model[3].weight != 0)


def test_chance_zeros_and_exempt_layers_stay_free_and_a_layer_of_zeros_does_not() -> None:
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20), nn.Linear(20, 20))
    with torch.no_grad():
        model[0].weight[0, :3] = 0  # 3 of 400
        model[1].weight[0] = 0
        model[2].weight.zero_()
    found = masks.find(model, exempt=["1"])
    assert list(found.masks) == ["2.weight"]
    assert not found.masks["2.weight"].any()
    assert set(masks.find(model).masks) == {"1.weight", "2.weight"}


def test_masks_of_biases_and_normalisation_are_held_too_and_others_are_refused() -> None:
    model = network()
    own = {"3.bias": torch.arange(5) > 1, "1.weight": torch.arange(4) > 0}
    assert masks.find(model, own).sources == {"3.bias": "file", "1.weight": "file"}
    for name, mask in (("1.running_mean", own["1.weight"]), ("3.bias", own["1.weight"]), ("9.weight", own["3.bias"])):
        with pytest.raises(
            CheckpointError, match=f"mask of shape .* for {name}, but the network has no such parameter"
        ):
            masks.find(model, {name: mask})


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
    assert masks.pattern({"a": mask, "bias": torch.arange(7) > 1}) == f"{n}:{m}", "a bias has no inputs"
    assert masks.pattern({"a": mask, "b": torch.rand(4, 16, generator=generator) < 0.6}) is None
    assert masks.pattern({"a": scores < 0.1}) is None
    assert masks.pattern({}) is None
