"""What the sparse engine computes beside convolutions: activations, gates, layer norms, linear layers, attention."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from networks import images, randomise
from sparsebench.engines.sparse import SparseEngine, available, instruction_sets
from sparsebench.engines.sparse.graph import Convolution
from sparsebench.engines.sparse.tracing import Traced
from sparsebench.engines.sparse.training.tracing import check as check_training
from sparsebench.schema import InputError

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

each_isa = pytest.mark.parametrize("isa", list(instruction_sets()))


def spread_out(module: nn.Module) -> nn.Module:
    """Give what starts as zeros or ones (norms, layer scales, tokens) numbers that can't be ignored."""
    source = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            if (
                parameter.numel() > 1
                and float(parameter.max() - parameter.min()) < 0.1
                and parameter.squeeze().ndim < 3
            ):
                parameter.copy_(torch.rand(parameter.shape, generator=source) + 0.5)
    return randomise(module)


def pruned(module: nn.Module, kind: str) -> nn.Module:
    """Prune every linear layer and convolution: alike, unevenly, or one of them wholly."""
    source = torch.Generator().manual_seed(4)
    layers = [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for index, layer in enumerate(layers[1:]):
            kept = {"80": 0.2, "90": 0.1, "uneven": [0.9, 0.05, 0.4][index % 3], "empty": float(index != 1) * 0.3}[kind]
            keep = torch.rand(layer.weight.shape, generator=source) < kept
            layer.weight.mul_(keep / max(kept, 0.01) ** 0.5)
    return module


def agree(module: nn.Module, batch: Tensor, bound: float = 1e-4, **options: object) -> None:
    options = {"threads": 1, "measure": False, **options}
    engine = SparseEngine(module.eval(), input_shape=tuple(batch.shape), **options)
    with torch.inference_mode():
        expected = module(batch)
    found = engine(batch)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= bound * float(expected.abs().max())


CURVES: dict[str, nn.Module] = {
    "sigmoid": nn.Sigmoid(),
    "hardsigmoid": nn.Hardsigmoid(),
    "silu": nn.SiLU(),
    "hardswish": nn.Hardswish(),
    "gelu": nn.GELU(),
    "gelu-tanh": nn.GELU(approximate="tanh"),
}


@pytest.mark.parametrize("name", CURVES)
@each_isa
def test_activations_agree_with_double_precision(name, isa):
    """To 1e-6 of the input's size, or of 1."""
    curve, x = CURVES[name], torch.linspace(-30, 30, 40_000).reshape(10, 1, 40, 100)
    engine = SparseEngine(nn.Sequential(curve, nn.Flatten()).eval(), 1, tuple(x.shape), isa=isa, measure=False)
    expected = curve(x.double()).flatten(1)
    off = (engine(x).double() - expected).abs() / x.double().flatten(1).abs().clamp(min=1)
    assert float(off.max()) < 1e-6


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-30, 90.0, -90.0, 1e30, -1e30])
@pytest.mark.parametrize("name", CURVES)
def test_activations_of_extreme_values_agree_with_torch(name, value):
    x = torch.full((2, 1, 2, 2), value)
    module = nn.Sequential(CURVES[name], nn.Flatten()).eval()
    found = SparseEngine(module, 1, (2, 1, 2, 2), measure=False)(x)
    torch.testing.assert_close(found, module(x), rtol=1e-5, atol=1e-6)


class Calls(nn.Module):
    """A convolution, then what a function makes of it."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor], channels: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.gate = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, channels, 1)
        self.norm, self.linear = nn.LayerNorm(channels), nn.Linear(channels, 5)
        self.factor = nn.Parameter(torch.rand(channels) + 0.5)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.conv(x))


def squeeze(m: nn.Module, x: Tensor) -> Tensor:
    return (x * F.hardsigmoid(m.gate(F.relu(x.mean((2, 3), keepdim=True))))).relu().mean((2, 3))


def gated(m: nn.Module, x: Tensor) -> Tensor:
    y = x * m.gate(x).sigmoid()
    return (m.gate(y) + y).mean((2, 3))


def channels_last(m: nn.Module, x: Tensor) -> Tensor:
    y = F.gelu(m.linear(m.norm(x.permute(0, 2, 3, 1))))
    return y.permute(0, 3, 1, 2).mean((2, 3))


def tokens(m: nn.Module, x: Tensor) -> Tensor:
    y = x.flatten(2).transpose(1, 2)
    y = y + m.norm(y) * m.factor
    return m.linear(y[:, 2:]).mean(1)


def constants(m: nn.Module, x: Tensor) -> Tensor:
    y = (2 * x + 1 - m.factor.reshape(1, -1, 1, 1)) / 3 * F.relu6(x + 3)
    return (y / 6).mul(m.factor.view(-1, 1, 1)).flatten(1)


def parts(m: nn.Module, x: Tensor) -> Tensor:
    y = m.gate(x)
    y = torch.cat([y[:, :4] + x[:, 2:], y[:, 4:], x], dim=1)
    return F.silu(y).mean((2, 3))


def positions(m: nn.Module, x: Tensor) -> Tensor:
    """What is added differs from place to place."""
    place = torch.arange(x.shape[-1]).float() * m.factor.reshape(-1, 1, 1)
    return m.gate(F.hardswish(x + place)).flatten(1)


def shaped(m: nn.Module, x: Tensor) -> Tensor:
    return m.linear(x.reshape(x.shape[0], x.size(1), -1).permute(0, 2, 1).contiguous()).mean(dim=1)


FUNCTIONS = [squeeze, gated, channels_last, tokens, constants, parts, positions, shaped]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("size", [(8, 8), (5, 13)], ids=str)
@each_isa
def test_calls_agree_with_torch(function, size, isa):
    agree(Calls(function), images(3, 3, *size), 1e-5, isa=isa)


def test_a_layer_scale_goes_into_the_linear_layer_before_it():
    module = Calls(lambda m, x: m.norm(m.gate(x).mul(m.factor.reshape(1, -1, 1, 1)).permute(0, 2, 3, 1)).mean((1, 2)))
    with torch.no_grad():
        layers = Traced(module.eval()).network(3, 8, 8).layers
    assert [layer.groups for layer in layers if isinstance(layer, Convolution)] == [1, 1]
    agree(module, images(3, 3, 8, 8))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_training_names_what_it_can_not_differentiate(function):
    with pytest.raises(InputError, match="engine 'sparse' doesn't"):
        check_training(Calls(function).train(), (2, 3, 8, 8))


@given(st.data())
def test_convolutions_of_any_stride_and_even_pools_agree_with_torch(data):
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    groups, stride, kernel = draw(1, 3), draw(1, 5), (draw(1, 5), draw(1, 5))
    inputs, size = groups * draw(1, 3), (draw(5, 19), draw(5, 19))
    conv = nn.Conv2d(inputs, groups * draw(1, 5), kernel, stride, (draw(0, 2), draw(0, 2)), groups=groups)
    module = nn.Sequential(conv, nn.AdaptiveAvgPool2d((draw(1, 9), draw(1, 9))), nn.Flatten())
    isa = data.draw(st.sampled_from(list(instruction_sets())))
    agree(module, images(draw(1, 17), inputs, *size), threads=draw(1, 2), isa=isa)


@pytest.mark.parametrize("kernel", [5, 7])
@pytest.mark.parametrize("size", [(7, 7), (9, 23)], ids=str)
@each_isa
def test_large_depthwise_kernels_agree_with_torch(kernel, size, isa):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, kernel, padding=kernel // 2, groups=6)
    agree(nn.Sequential(conv, nn.Hardswish(), nn.Flatten()), images(3, 6, *size), isa=isa)


def transformer(**options: object) -> nn.Module:
    torch.manual_seed(0)
    options = {
        "img_size": 40,
        "patch_size": 8,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 3,
        "num_classes": 0,
        **options,
    }
    return spread_out(VisionTransformer(**options))


@pytest.mark.parametrize(
    "options",
    [
        {}, {"class_token": False, "global_pool": "avg"}, {"global_pool": "avg"}, {"reg_tokens": 4},
        {"no_embed_class": True, "init_values": 0.1}, {"num_heads": 1, "embed_dim": 10}, {"img_size": 72},
        {"pre_norm": True, "qkv_bias": False}, {"patch_size": 4, "img_size": (12, 44)},
    ],
    ids=str,
)  # fmt: skip
@each_isa
def test_transformers_agree_with_torch(options, isa):
    size = options.get("img_size", 40)
    size = size if isinstance(size, tuple) else (size, size)
    agree(pruned(transformer(**options), "uneven"), images(3, 3, *size), isa=isa)


@pytest.mark.parametrize("kind", ["80", "90", "uneven", "empty"])
@pytest.mark.parametrize("count", [1, 3, 17])
def test_masks_of_every_kind_in_linear_layers(kind, count):
    agree(pruned(transformer(), kind), images(count, 3, 40, 40))


def test_bits_of_a_transformer_depend_on_neither_threads_nor_batch_nor_tiles():
    module, batch = pruned(transformer(), "80"), images(33, 3, 40, 40)
    alone = SparseEngine(module, 1, (33, 3, 40, 40), measure=False)
    expected = alone(batch)
    for threads in (2, 3):
        assert torch.equal(SparseEngine(module, threads, (33, 3, 40, 40), measure=True)(batch), expected)
    for count in (1, 5, 16):
        assert torch.equal(alone(batch[:count]), expected[:count])


@pytest.mark.parametrize(
    ("options", "size", "said"),
    [
        ({"qk_norm": True}, 40, "a part of a map|something else"),
        ({}, 48, "Input height"),
        ({"patch_size": 1}, 40, "1601 tokens, more than 1024"),
    ],
    ids=["query-norm", "size", "many-tokens"],
)
def test_what_a_transformer_has_beyond_that_is_refused(options, size, said):
    with pytest.raises(InputError, match=f"engine 'sparse' doesn't understand layer .*({said})"):
        SparseEngine(transformer(**options), 1, (2, 3, size, size), measure=False)


FAST = ["mobilenetv3_small_100", "efficientnet_b0", "convnext_atto", "rexnet_100", "regnety_002", "densenet121"]
SLOW = ["mobilenetv3_large_100", "regnety_004", "mnasnet_100", "hardcorenas_a", "mobilenetv1_100", "resnext50_32x4d"]


@pytest.mark.parametrize("kind", ["90", "uneven"])
@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_whole_networks_of_timm_agree_with_torch(name, kind):
    torch.manual_seed(0)
    module = pruned(spread_out(timm.create_model(name, num_classes=0)), kind)
    agree(module, images(3, 3, 61, 45))
