"""Wanda and SparseGPT, layer by layer, against implementations that share nothing with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from sparsebench.models import masks
from sparsebench.pruning.base import PruningMethod
from sparsebench.pruning.calibrated import Calibrated
from sparsebench.pruning.layerwise import columns, matrix, unmatrix
from sparsebench.pruning.methods.sparsegpt import SparseGPT
from sparsebench.pruning.methods.wanda import Wanda
from sparsebench.pruning.state import TrainState
from sparsebench.schema import InputError

LAYERS = {
    "linear": lambda: nn.Linear(12, 5),
    "conv": lambda: nn.Conv2d(4, 6, 3, padding=1, bias=False),
    "strided": lambda: nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0)),
    "dilated": lambda: nn.Conv2d(4, 6, 3, dilation=2, padding="same"),
    "grouped": lambda: nn.Conv2d(8, 6, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "same": lambda: Conv2dSame(4, 6, 3, stride=2),
}


def inputs_of(layer: nn.Module, count: int = 16) -> Tensor:
    if isinstance(layer, nn.Linear):
        return torch.randn(count, 7, layer.in_features)
    return torch.randn(count, layer.in_channels, 9, 8)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_is_the_product_of_its_matrix_and_its_columns(kind: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    inputs = inputs_of(layer)
    rows, samples = matrix(layer), columns(layer, inputs)
    product = torch.einsum("grc,gnc->ngr", rows, samples).flatten(1)
    expected = F.linear(inputs, layer.weight) if isinstance(layer, nn.Linear) else _without_bias(layer, inputs)
    expected = expected.detach()
    expected = expected.reshape(-1, expected.shape[-1]) if inputs.ndim == 3 else expected.movedim(1, -1).flatten(0, 2)
    torch.testing.assert_close(product, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(unmatrix(layer, rows), layer.weight)


def _without_bias(layer: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        if layer.bias is not None:
            layer.bias.zero_()
    return layer(inputs)


def hessian_of(samples: Tensor) -> Tensor:
    return samples.transpose(1, 2) @ samples / samples.shape[1]


def surgeon(row: Tensor, hessian: Tensor, prune: Tensor) -> Tensor:
    """Prune columns one by one, solving for the later ones each time (Hassibi & Stork, on what is left)."""
    row, hessian = row.double().clone(), hessian.double()
    for j in range(len(row)):
        if prune[j]:
            inverse = torch.linalg.inv(hessian[j:, j:])
            row[j:] -= row[j] / inverse[0, 0] * inverse[:, 0]
    return row


def reference_mask(weight: Tensor, hessian: Tensor, kept: int) -> Tensor:
    """The mask of one block: every weight's cost of going, when all columns before it are fixed, group by group."""
    mask = torch.empty(weight.shape, dtype=torch.bool)
    for g in range(len(weight)):
        costs = torch.empty(weight.shape[1:], dtype=torch.double)
        for j in range(weight.shape[2]):
            costs[:, j] = weight[g, :, j].double() ** 2 / torch.linalg.inv(hessian[g, j:, j:].double())[0, 0]
        own = kept // len(weight) + (g < kept % len(weight))
        mask[g] = costs >= costs.flatten().sort(descending=True).values[own - 1]
    return mask


@pytest.mark.parametrize("kind", LAYERS)
def test_sparsegpt_is_the_optimal_brain_surgeon_column_by_column(kind: str) -> None:
    torch.manual_seed(1)
    layer = LAYERS[kind]()
    samples = columns(layer, inputs_of(layer, 40))
    method = SparseGPT(0.5, "uniform", damp=0.05)
    statistics = method.collect(samples) / samples.shape[1]
    weight = matrix(layer).clone()
    kept = weight.numel() // 2
    found, mask = method.pruned(weight.clone(), statistics, kept)
    assert int(mask.sum()) == kept
    assert not found[~mask].any()
    hessian = hessian_of(samples).double()
    for g in range(len(hessian)):
        hessian[g] += 0.05 * hessian[g].diagonal().mean() * torch.eye(hessian.shape[1])
    assert torch.equal(mask, reference_mask(weight, hessian, kept))
    for g in range(len(weight)):
        for row, out, keep in zip(weight[g], found[g], mask[g], strict=True):
            torch.testing.assert_close(out.double(), surgeon(row, hessian[g], ~keep), rtol=1e-3, atol=1e-5)


def test_blocks_choose_their_mask_when_they_are_reached() -> None:
    torch.manual_seed(2)
    samples, weight = torch.randn(1, 300, 12) @ torch.randn(12, 12), torch.randn(1, 5, 12)
    hessian = hessian_of(samples).double()
    hessian[0] += 0.01 * hessian[0].diagonal().mean() * torch.eye(12)
    found, mask = SparseGPT(0.5, "uniform", block=4).pruned(weight.clone(), hessian_of(samples), 30)
    now = weight[0].double().clone()
    for start in (0, 4, 8):
        costs = torch.stack(
            [now[:, j] ** 2 / torch.linalg.inv(hessian[0, j:, j:])[0, 0] for j in range(start, start + 4)], 1
        )
        expected = costs >= costs.flatten().sort(descending=True).values[9]
        assert torch.equal(mask[0, :, start : start + 4], expected)
        only = torch.zeros(5, 12, dtype=torch.bool)
        only[:, start : start + 4] = ~expected
        now = torch.stack([surgeon(row, hessian[0], prune) for row, prune in zip(now, only, strict=True)])
    torch.testing.assert_close(found[0].double(), now, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "conv", "grouped"])
@pytest.mark.parametrize("make", [SparseGPT, Wanda])
def test_a_pattern_holds_along_the_inputs(kind: str, make: type[Calibrated]) -> None:
    torch.manual_seed(3)
    layer = LAYERS[kind]()
    samples = columns(layer, inputs_of(layer))
    method = make(0.5, "nm", (2, 4))
    weight = matrix(layer).clone()
    _, mask = method.pruned(weight.clone(), method.collect(samples) / samples.shape[1], weight.numel() // 2)
    whole = unmatrix(layer, mask)
    assert bool((whole.movedim(1, -1).unflatten(-1, (-1, 4)).sum(-1) == 2).all())


@pytest.mark.parametrize("kind", ["linear", "conv", "grouped"])
def test_sparsegpt_under_a_pattern_chooses_each_group_when_it_is_reached(kind: str) -> None:
    torch.manual_seed(9)
    layer = LAYERS[kind]()
    samples = columns(layer, inputs_of(layer, 40))
    method = SparseGPT(0.5, "nm", (2, 4), damp=0.05, block=8)
    weight = matrix(layer).clone()
    found, mask = method.pruned(weight.clone(), method.collect(samples) / samples.shape[1], weight.numel() // 2)
    hessian = hessian_of(samples).double()
    for g, rows in enumerate(weight.double()):
        hessian[g] += 0.05 * hessian[g].diagonal().mean() * torch.eye(hessian.shape[1])
        costs = torch.stack([1 / torch.linalg.inv(hessian[g, j:, j:])[0, 0] for j in range(rows.shape[1])])
        now = rows.clone()
        for start in range(0, rows.shape[1], 4):
            cost = now[:, start : start + 4] ** 2 * costs[start : start + 4]
            keep = torch.zeros(cost.shape, dtype=torch.bool).scatter(1, cost.topk(2).indices, True)
            assert torch.equal(mask[g, :, start : start + 4], keep)
            only = torch.zeros(now.shape, dtype=torch.bool)
            only[:, start : start + 4] = ~keep
            now = torch.stack([surgeon(row, hessian[g], prune) for row, prune in zip(now, only, strict=True)])
        torch.testing.assert_close(found[g].double(), now, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "conv", "grouped"])
def test_wanda_under_a_pattern_keeps_the_largest_of_each_group(kind: str) -> None:
    torch.manual_seed(10)
    layer = LAYERS[kind]()
    samples = columns(layer, inputs_of(layer))
    method = Wanda(0.5, "nm", (2, 4))
    weight = matrix(layer).clone()
    _, mask = method.pruned(weight.clone(), method.collect(samples) / samples.shape[1], weight.numel() // 2)
    scores = torch.stack([weight[g].double().abs() * samples[g].double().norm(dim=0) for g in range(len(weight))])
    largest = scores.unflatten(-1, (-1, 4)).topk(2).indices
    expected = torch.zeros_like(mask).unflatten(-1, (-1, 4)).scatter(-1, largest, True).flatten(-2)
    assert torch.equal(mask, expected)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("compare", ["output", "layer"])
def test_wanda_keeps_the_largest_products_with_the_norms_of_inputs(kind: str, compare: str) -> None:
    torch.manual_seed(4)
    layer = LAYERS[kind]()
    samples = columns(layer, inputs_of(layer))
    method = Wanda(0.5, "uniform", compare=compare)
    weight = matrix(layer).clone()
    kept = len(weight.flatten(0, 1)) * (weight.shape[2] // 2)
    found, mask = method.pruned(weight.clone(), method.collect(samples) / samples.shape[1], kept)
    assert torch.equal(found, weight * mask)
    scores = torch.stack([weight[g].abs() * samples[g].norm(dim=0) for g in range(len(weight))])
    assert int(mask.sum()) == kept
    for score, keep in zip(scores.flatten(0, 1), mask.flatten(0, 1), strict=True):
        if compare == "output":
            assert int(keep.sum()) == weight.shape[2] // 2
            assert score[keep].min() >= score[~keep].max()
    if compare == "layer":
        assert scores[mask].min() >= scores[~mask].max()


def test_sparsegpt_changes_a_layers_outputs_less_than_wanda_and_magnitude() -> None:
    torch.manual_seed(5)
    layer = nn.Conv2d(8, 8, 3)
    mix = torch.eye(8) + 0.3 * torch.randn(8, 8)
    samples = columns(layer, torch.einsum("nchw,cd->ndhw", torch.randn(32, 8, 10, 10), mix))
    weight, kept = matrix(layer).clone(), 288
    errors = []
    for method in (SparseGPT(0.5, block=8), Wanda(0.5)):
        found, _ = method.pruned(weight.clone(), method.collect(samples) / samples.shape[1], kept)
        errors.append(float(((weight - found) @ samples.transpose(1, 2)).square().mean()))
    plain = weight * (weight.abs() >= weight.abs().flatten().sort(descending=True).values[kept - 1])
    errors.append(float(((weight - plain) @ samples.transpose(1, 2)).square().mean()))
    assert errors == sorted(errors)
    assert errors[0] < 0.8 * errors[2]


def sample(count: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(count):
        yield torch.randn(size, 3, 64, 64), torch.zeros(size, dtype=torch.long)


def network(name: str, **options: object) -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(6)
    model = timm.create_model(name, num_classes=4, **options).eval()
    head = model.get_classifier()
    exempt = next(n for n, m in model.named_modules() if m is head)
    return model, masks.prunable(model, (exempt,))


def state_of(method: PruningMethod, model: nn.Module, weights: dict[str, Tensor]) -> TrainState:
    method.check_layers(weights)
    return TrainState(model, torch.optim.SGD(model.parameters(), 0.1), weights, 0, sample)


NETWORKS: dict[str, tuple[dict[str, object], str]] = {
    "resnet18": ({"channels": (16, 24, 32, 48)}, "uniform"),
    "mobilenetv3_small_050": ({}, "global"),
    "vit_tiny_patch16_224": ({"img_size": 64, "depth": 2}, "erk"),
}
"""Options and distributions."""


@pytest.mark.parametrize(
    ("make", "name"),
    [
        pytest.param(SparseGPT, "resnet18", marks=pytest.mark.slow),
        (SparseGPT, "mobilenetv3_small_050"),
        (Wanda, "vit_tiny_patch16_224"),
        pytest.param(Wanda, "resnet18", marks=pytest.mark.slow),
        pytest.param(Wanda, "mobilenetv3_small_050", marks=pytest.mark.slow),
        pytest.param(SparseGPT, "vit_tiny_patch16_224", marks=pytest.mark.slow),
    ],
)
def test_networks_of_convolutions_and_attention(make: type[Calibrated], name: str) -> None:
    options, distribution = NETWORKS[name]
    model, weights = network(name, **options)
    method = make(0.5, distribution, images=4, batch=4)
    (result,) = method.results(state_of(method, model, weights))
    total = sum(w.numel() for w in weights.values())
    assert abs(sum(int((~m).sum()) for m in result.masks.values()) - 0.5 * total) <= len(weights)
    assert set(result.masks) == set(weights)
    for key, mask in result.masks.items():
        assert not result.state[key][~mask].any()
    assert all(bool(v.isfinite().all()) for v in result.state.values())


def test_each_layer_sees_what_the_pruned_layers_before_it_give() -> None:
    torch.manual_seed(7)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
    before = [layer.weight.detach().clone() for layer in (model[0], model[2])]
    seen: list[Tensor] = []

    class Watched(Wanda):
        def collect(self, inputs: Tensor) -> Tensor:
            seen.append(inputs)
            return super().collect(inputs)

    method = Watched(0.5, "uniform", images=2, batch=2)
    weights = masks.prunable(model)
    fixed = list(sample(1, 2))
    state = TrainState(model, torch.optim.SGD(model.parameters(), 0.1), weights, 0, lambda count, size: iter(fixed))
    found = method.prune_layers(state, 0.5)
    first = F.relu(F.conv2d(fixed[0][0], before[0] * found["0.weight"], model[0].bias))
    torch.testing.assert_close(seen[1], columns(model[2], first))


def test_a_layer_whose_inputs_cannot_be_seen_is_refused_naming_it() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 8)

        def forward(self, images: Tensor) -> Tensor:
            return F.linear(images.flatten(1)[:, :8], self.inner.weight)

    class Scaled(nn.Linear):
        pass

    for model, message in (
        (Hidden(), "layer inner is not run as a module"),
        (nn.Sequential(nn.Flatten(), Scaled(3 * 64 * 64, 2)), r"layer 1 \(Scaled\) is neither"),
    ):
        method = Wanda(0.5, images=2, batch=2)
        with pytest.raises(InputError, match=message + ".*--exempt"):
            list(method.results(state_of(method, model.eval(), masks.prunable(model))))


def test_an_input_that_is_never_active_costs_nothing() -> None:
    torch.manual_seed(8)
    samples, weight = torch.randn(1, 50, 8), torch.randn(1, 4, 8)
    samples[..., 3] = 0
    method = SparseGPT(0.5)
    found, mask = method.pruned(weight.clone(), hessian_of(samples), 16)
    assert not mask[..., 3].any()
    assert bool(found.isfinite().all())


def test_inputs_are_those_of_the_statistics_to_come_not_of_the_dense_networks() -> None:
    torch.manual_seed(9)
    found = []
    for mean in (0.0, 50.0):
        torch.manual_seed(9)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
        model[1].running_mean.fill_(mean)
        weights = masks.prunable(model)
        method = SparseGPT(0.5, "uniform", images=2, batch=2)
        fixed = list(sample(1, 2))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        state = TrainState(model, optimizer, weights, 0, lambda count, size, fixed=fixed: iter(fixed))
        found.append(method.prune_layers(state, 0.5)["3.weight"])
        assert not model[1].training
        assert model[1].momentum == 0.1
        assert torch.equal(model[1].running_mean, torch.full((4,), mean))
        assert int(model[1].num_batches_tracked) == 0
    assert torch.equal(*found)


def test_every_depthwise_filter_keeps_an_equal_share() -> None:
    torch.manual_seed(10)
    layer = nn.Conv2d(6, 6, 3, groups=6)
    samples = columns(layer, torch.randn(16, 6, 9, 9) * torch.logspace(-3, 3, 6).view(6, 1, 1))
    _, mask = SparseGPT(0.5).pruned(matrix(layer).clone(), hessian_of(samples), 27)
    assert mask.flatten(1).sum(1).tolist() == [5, 5, 5, 4, 4, 4]
