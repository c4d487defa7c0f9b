"""The sparse engine in training: torch's gradients, whatever the layers, masks, batches and threads."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks import images
from sparsebench.engines.sparse import available, instruction_sets
from sparsebench.engines.sparse.training import Trainable, check, trainable
from sparsebench.models import masks
from sparsebench.models.backbones import build, find
from sparsebench.pruning.distributions import erk_masks, global_masks
from sparsebench.schema import InputError

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

ENOUGH = 1e-4


def mini() -> nn.Module:
    return build(find("mini")[0], 0)


def masked(module: nn.Module, *densities: float) -> nn.Module:
    """Prune the convolutions at random, by densities that take turns."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for i, conv in enumerate(m for m in module.modules() if isinstance(m, nn.Conv2d)):
            density = densities[i % len(densities)]
            conv.weight.mul_(torch.rand(conv.weight.shape, generator=source) < density)
    return module


def away_from_kinks(module: nn.Module) -> nn.Module:
    """Shift what batch norm gives: few values are then so near a clamp's limit that a rounding decides its gradient."""
    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.weight.fill_(0.7)
                norm.bias.fill_(3)
    return module


def gradients(module: nn.Module, batch: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Return the features and the gradients of a weighted sum of them, those of zero weights as zeros."""
    features = module(batch)
    features.backward(weights.to(features.dtype))
    found = {
        name: p.grad * (p != 0 if p.ndim == 4 else 1) for name, p in module.named_parameters() if p.grad is not None
    }
    return {"features": features.detach(), **found}


def agree(module: nn.Module, batch: Tensor, mode: bool = True) -> Trainable:
    """Compare features, gradients and statistics with torch's in double precision; torch's floats are off, too."""
    ours = trainable(module, threads=1).train(mode)
    exact = copy.deepcopy(module).double().train(mode)
    shape = exact(batch[:2].double()).shape[1:]
    exact.load_state_dict(module.state_dict())
    weights = images(len(batch), *shape, seed=2)
    expected, found = gradients(exact, batch.double(), weights), gradients(ours, batch, weights)
    assert found.keys() == expected.keys()
    floats = gradients(copy.deepcopy(module).train(mode), batch, weights)
    least = 1e-3 * max(float(g.norm()) for name, g in expected.items() if name != "features")
    for name, gradient in expected.items():
        off = float((found[name] - gradient).norm())
        allowed = max(ENOUGH * max(float(gradient.norm()), least), 3 * float((floats[name] - gradient).norm()))
        assert off <= allowed + 1e-5 * gradient.numel() ** 0.5, name  # what a norm makes of a constant is noise
    for name, value in exact.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name).double(), value.double(), rtol=1e-4, atol=1e-5)
    return ours


@pytest.mark.parametrize("densities", [(0.1,), (1.0, 0.02, 0.5, 0.0), (0.9, 0.3, 0.05)])
@pytest.mark.parametrize("count", [2, 3, 17])
def test_gradients_of_mini_are_torchs(densities: tuple[float, ...], count: int) -> None:
    torch.manual_seed(0)
    agree(masked(away_from_kinks(mini()), *densities), images(count, 3, 32, 35))


@pytest.mark.parametrize("kind", [erk_masks, global_masks])
@pytest.mark.parametrize(("count", "size"), [(1, 33), (3, 65), (1, 97)])
def test_gradients_under_uneven_masks_and_at_odd_sizes_are_torchs(
    kind: Callable[..., dict[str, Tensor]], count: int, size: int
) -> None:
    torch.manual_seed(0)
    module = away_from_kinks(mini())
    scores = {name: weight.detach().abs() for name, weight in masks.prunable(module).items()}
    masks.apply(module, kind(scores, 0.95))
    agree(module, images(count, 3, size, size))


@pytest.mark.parametrize(
    "arch",
    [
        "mobilenet_v1",
        "efficientnet_lite0",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "resnet50", "resnet50_rigl")),
    ],
)
def test_gradients_of_every_architecture_are_torchs(arch: str) -> None:
    torch.manual_seed(0)
    agree(masked(away_from_kinks(build(find(arch)[0], 0)), 0.5, 0.2, 1.0), images(3, 3, 45, 40))


@st.composite
def layers(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """A small network of random convolutions, norms, clamps and pools, and a batch for it."""
    torch.manual_seed(draw(st.integers(0, 100)))
    channels, parts = draw(st.sampled_from([3, 4])), []
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([1, 1, channels]))
        outputs = groups * draw(st.integers(1, 3)) if groups > 1 else draw(st.integers(1, 9))
        kernel = draw(st.sampled_from([1, 2, 3, 5]))
        stride, dilation = draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 1, 2, 3]))
        padding = draw(st.integers(0, kernel // 2 * dilation + 1))
        bias = draw(st.booleans())
        parts.append(nn.Conv2d(channels, outputs, kernel, stride, padding, dilation, groups, bias))
        channels = outputs
        if draw(st.booleans()):
            parts.append(
                nn.BatchNorm2d(channels, affine=draw(st.booleans()), momentum=draw(st.sampled_from([0.1, None])))
            )
        parts.append(draw(st.sampled_from([nn.Identity(), nn.ReLU(), nn.ReLU6(), nn.Hardtanh()])))
    parts.append(draw(st.sampled_from([nn.Identity(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, 2, ceil_mode=True)])))
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if draw(st.booleans()) else [nn.Flatten()]
    if draw(st.booleans()):
        parts.insert(len(parts) - 1, nn.AdaptiveAvgPool2d(1))
        parts.append(nn.Linear(channels, 5))
    module = masked(nn.Sequential(*parts), draw(st.sampled_from([0.0, 0.3, 1.0])))
    size = draw(st.integers(12, 19)), draw(st.integers(12, 19))
    return module, images(draw(st.sampled_from([2, 3, 9])), parts[0].in_channels, *size)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(layers())
def test_gradients_of_any_layers_are_torchs(made: tuple[nn.Module, Tensor]) -> None:
    module, batch = made
    try:
        module(batch)
        check(module, batch.shape)
    except (RuntimeError, ValueError, InputError):
        reject()  # a window is larger than its map
    agree(module, batch)


class Shared(nn.Module):
    """Maps that are read twice, added to themselves and added without a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 3, 1, 1, bias=False)
        self.pool, self.norm = nn.MaxPool2d(2), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = F.relu(self.b(x) + self.c(x))
        y = F.relu6(self.norm(y) + x + x)
        return (self.pool(y) + self.pool(self.c2(y))).mean((2, 3))

    def c2(self, y: Tensor) -> Tensor:
        return F.relu(y + y)


def test_gradients_of_shared_maps_are_torchs() -> None:
    torch.manual_seed(0)
    agree(Shared(), images(5, 3, 15, 21))


class Chain(nn.Module):
    """Additions one after another, of which the backward pass computes every second one again."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem, self.short = nn.Conv2d(3, 5, 3, 1, 1), nn.BatchNorm2d(5)
        self.convolutions = nn.ModuleList(nn.Conv2d(5, 5, 3, 1, 1, bias=False) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.BatchNorm2d(5) for _ in range(blocks))
        self.before = nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.short(self.stem(x))
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = norm(convolution(F.relu(self.before(x)) if i == 3 else x)) + x
            x = x if i == 1 else F.relu(x)
        return F.max_pool2d(x, 3, 2).mean((2, 3))


@pytest.mark.parametrize("blocks", range(1, 7))
def test_gradients_of_chains_of_additions_are_torchs(blocks: int) -> None:
    torch.manual_seed(0)
    agree(masked(away_from_kinks(Chain(blocks)), 0.5), images(5, 3, 11, 14))


def test_frozen_statistics_are_used_and_left_alone() -> None:
    torch.manual_seed(0)
    module = masked(away_from_kinks(mini()), 0.3)
    found = agree(module, images(3, 3, 32, 32), mode=False)
    assert int(found.get_buffer("bn1.num_batches_tracked")) == 0
    batch = images(70, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(found(batch), module.eval()(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("isa", list(instruction_sets()))
def test_every_instruction_set_trains(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEBENCH_ISA", isa)
    torch.manual_seed(0)
    agree(masked(away_from_kinks(mini()), 0.1, 0.6), images(19, 3, 32, 32))


def steps(
    module: nn.Module, count: int, optimizer: type[torch.optim.Optimizer] = torch.optim.SGD, **o: float
) -> list[float]:
    """Return the losses of a loop of one's own, gradients of zero weights left out."""
    chosen = optimizer(module.parameters(), **o)
    kept = {name: p != 0 if p.ndim == 4 else torch.ones_like(p) for name, p in module.named_parameters()}
    losses = []
    for step in range(count):
        chosen.zero_grad()
        loss = F.cross_entropy(module(images(12, 3, 32, 32, seed=step)), torch.arange(12) % 7)
        loss.backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            parameter.grad.mul_(kept[name])
        chosen.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_loop_of_ones_own_has_torchs_losses(optimizer: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    module = masked(mini(), 0.2).train()
    ours = trainable(module).train()
    assert list(ours.state_dict()) == list(module.state_dict())
    options = {"lr": 1e-3, "weight_decay": 1e-4} | ({"momentum": 0.9} if optimizer is torch.optim.SGD else {})
    expected, found = steps(module, 20, optimizer, **options), steps(ours, 20, optimizer, **options)
    # AdamW divides gradients by their own size, so that the rounding of small ones weighs more
    limit = 1e-5 if optimizer is torch.optim.SGD else 1e-4
    assert max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True)) < limit
    weight = ours.get_parameter("layer2.0.conv1.weight")
    assert torch.equal(weight != 0, module.get_parameter("layer2.0.conv1.weight") != 0)


def test_neither_threads_nor_measured_tiles_change_a_bit() -> None:
    torch.manual_seed(0)
    module = masked(mini(), 0.1, 0.5, 1.0)
    batch, weights = images(37, 3, 40, 33), images(37, 256, seed=2)
    ways = [{"threads": 1}, {"threads": 2, "measure": False}, {"threads": 3}]
    found = [gradients(trainable(module, **way).train(), batch, weights) for way in ways]  # type: ignore[arg-type]
    for other in found[1:]:
        assert all(torch.equal(other[name], value) for name, value in found[0].items())


def test_what_a_program_ran_before_changes_nothing() -> None:
    """Smaller and larger batches and other sizes of image take the same memory."""
    torch.manual_seed(0)
    module = masked(mini(), 0.3)
    weights = images(5, 256, seed=2)
    fresh = gradients(trainable(module).train(), images(5, 3, 32, 32), weights)
    used = trainable(module).train()
    for shape in ((40, 3, 32, 32), (3, 3, 48, 32)):
        used(images(*shape)).sum().backward()
    with torch.no_grad():
        used(images(4, 3, 32, 32))
    used.zero_grad()
    again = gradients(used, images(5, 3, 32, 32), weights)
    assert all(torch.equal(again[name], value) for name, value in fresh.items())


def test_two_passes_before_a_backward_pass() -> None:
    torch.manual_seed(0)
    module = masked(away_from_kinks(mini()), 0.3).eval()
    ours = trainable(module).eval()
    for one in (module, ours):
        (one(images(3, 3, 32, 32)).sum() * 2 - one(images(4, 3, 32, 32, seed=5)).sum()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        found = ours.get_parameter(name).grad
        expected = parameter.grad * (parameter != 0) if parameter.ndim == 4 else parameter.grad
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_a_second_backward_pass_is_an_error() -> None:
    loss = trainable(mini())(images(2, 3, 32, 32)).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()


def test_a_copy_trains_on_its_own() -> None:
    ours = trainable(mini())
    twin = copy.deepcopy(ours)
    twin(images(2, 3, 32, 32)).sum().backward()
    assert ours.get_parameter("conv1.weight").grad is None
    assert twin.get_parameter("conv1.weight").grad is not None


def test_a_nan_goes_through() -> None:
    ours = trainable(mini()).train()
    batch = images(4, 3, 32, 32)
    batch[1, 0, 3, 3] = torch.nan
    assert ours(batch).isnan().all()


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "'1'"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "'1'.*at random"),
    ],
)
def test_what_is_not_understood_is_named(module: nn.Module, named: str) -> None:
    with pytest.raises(InputError, match=named):
        trainable(module)(images(2, 3, 9, 9))


def test_batches_that_cannot_be_are_errors() -> None:
    ours = trainable(mini())
    with pytest.raises(InputError, match="gradients of images"):
        ours(images(2, 3, 32, 32).requires_grad_())
    with pytest.raises(InputError, match="give floats"):
        ours(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(InputError, match="float32"):
        ours.double()(images(2, 3, 32, 32))
