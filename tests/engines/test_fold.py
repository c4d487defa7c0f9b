from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, StdConv2d
from torch import nn
from torchvision import models

from networks import randomise
from sparsebench.engines.fold import fold_batchnorm


def difference(first: nn.Module, second: nn.Module, size: int = 32) -> float:
    """Largest difference of two modules' outputs over the largest output."""
    batch = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        a, b = first(batch.clone()), second(batch.clone())
    return float((a - b).abs().max() / a.abs().max())


@pytest.mark.parametrize(
    ("make", "folded", "unfolded"),
    [
        (lambda: timm.create_model("resnet18", num_classes=0), 20, 0),
        (lambda: timm.create_model("mobilenetv2_100", num_classes=0), 52, 0),
        (lambda: timm.create_model("efficientnet_lite0", num_classes=0), 49, 0),
        (lambda: timm.create_model("tf_efficientnet_lite0", num_classes=0), 49, 0),
        (lambda: models.resnet18(), 20, 0),
        (lambda: timm.create_model("densenet121", num_classes=0), 59, 62),
    ],
    ids=["timm-resnet18", "mobilenetv2", "lite0", "tf-lite0-same-padding", "torchvision-resnet18", "densenet"],
)
def test_known_networks_agree(make, folded, unfolded):
    module = randomise(make())
    result = fold_batchnorm(module)
    assert (result.folded, result.unfolded, result.reason) == (folded, unfolded, None)
    assert difference(module, result.module) < 1e-5


def test_the_original_is_untouched_and_the_copy_is_frozen():
    module = randomise(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout())).train()
    before = copy.deepcopy(module.state_dict())
    result = fold_batchnorm(module)
    assert module.training
    assert not result.module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_pruned_zeros_stay_zeros_and_nothing_else_becomes_one():
    conv, norm = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
    keep = torch.rand(conv.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    with torch.no_grad():
        conv.weight.mul_(keep)
    result = fold_batchnorm(randomise(nn.Sequential(conv, norm)))
    weight = next(p for p in result.module.parameters() if p.ndim == 4)
    assert torch.equal(weight != 0, conv.weight != 0)


def test_activation_of_a_fused_norm_is_kept():
    fused = nn.Sequential(
        nn.Conv2d(3, 8, 3), BatchNormAct2d(8, act_layer=nn.SiLU), nn.Conv2d(8, 8, 1), BatchNormAct2d(8)
    )
    module = randomise(fused)
    result = fold_batchnorm(module)
    assert result.folded == 2
    assert any(isinstance(layer, nn.SiLU) for layer in result.module.modules())
    assert difference(module, result.module) < 1e-5


class Shared(nn.Module):
    """One convolution under two norms, one output with two users, one norm over two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.read, self.a, self.b = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))
        self.first, self.second, self.third, self.common = (nn.BatchNorm2d(3) for _ in range(4))

    def forward(self, x):
        x = self.first(self.twice(x)) + self.second(self.twice(x))
        y = self.read(x)
        return self.third(y) + y + self.common(self.a(x)) + self.common(self.b(x))


def test_only_a_convolution_used_once_is_folded():
    module = randomise(Shared())
    result = fold_batchnorm(module)
    assert result.folded == 2
    assert difference(module, result.module) < 1e-5


def test_tied_weights_are_not_folded():
    first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    second.weight = first.weight
    module = randomise(nn.Sequential(first, nn.BatchNorm2d(3), second, nn.BatchNorm2d(3)))
    result = fold_batchnorm(module)
    assert (result.folded, result.unfolded) == (0, 2)
    assert difference(module, result.module) == 0


@pytest.mark.parametrize(
    "conv",
    [StdConv2d(3, 8, 3), torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3))],
    ids=["weight-standardised", "parametrised"],
)
def test_a_convolution_that_makes_its_own_weight_is_left(conv):
    module = randomise(nn.Sequential(conv, nn.BatchNorm2d(8)))
    result = fold_batchnorm(module)
    assert result.folded == 0
    assert difference(module, result.module) == 0


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(8, affine=False), nn.BatchNorm2d(8, eps=0.1), nn.BatchNorm2d(8, track_running_stats=False)],
    ids=["no-affine", "large-eps", "batch-statistics"],
)
@pytest.mark.parametrize("options", [{}, {"padding": 1, "padding_mode": "reflect", "bias": False}, {"stride": 2}])
def test_norm_and_convolution_options(norm, options):
    if norm.running_mean is not None:
        randomise(norm)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, **options), norm).eval()
    result = fold_batchnorm(module)
    assert result.folded == int(norm.track_running_stats)
    assert difference(module, result.module) < 1e-5


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return x if x.sum() > 0 else -x


def test_what_cannot_be_traced_runs_unfolded_and_says_so():
    module = randomise(Untraceable())
    result = fold_batchnorm(module)
    assert (result.folded, result.unfolded) == (0, 1)
    assert "TraceError" in result.reason
    assert not result.module.training
    assert difference(module, result.module) == 0
