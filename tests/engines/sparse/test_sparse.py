from __future__ import annotations

import threading

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision import models

import sparsebench
import sparsebench.models.architectures.registration
from networks import images, prune, randomise
from sparsebench.engines.sparse import SparseEngine, available, instruction_sets
from sparsebench.pruning.distributions import erk_masks, global_masks, nm_masks, uniform_masks
from sparsebench.schema import InputError

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")


def difference(module: nn.Module, batch: Tensor, **options) -> float:
    """Largest difference to torch over the largest value."""
    engine = SparseEngine(module, options.pop("threads", 1), tuple(batch.shape), measure=False, **options)
    with torch.inference_mode():
        expected = module(batch)
    found = engine(batch)
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    return float((found - expected).abs().max() / expected.abs().max())


ARCHITECTURES = {
    "mini": lambda: timm.create_model("mini", num_classes=0),
    "resnet18": lambda: timm.create_model("resnet18", num_classes=0),
    "resnet34": lambda: timm.create_model("resnet34", num_classes=0),
    "resnet50": lambda: timm.create_model("resnet50", num_classes=0),
    "resnet26d": lambda: timm.create_model("resnet26d", num_classes=0),
    "resnet50_rigl": lambda: timm.create_model("resnet50_rigl", num_classes=0),
    "mobilenet_v1": lambda: timm.create_model("mobilenet_v1", num_classes=0),
    "lite0": lambda: timm.create_model("tf_efficientnet_lite0", num_classes=0),
    "mobilenetv2": lambda: timm.create_model("mobilenetv2_100", num_classes=0),
    "torchvision-resnet18": lambda: models.resnet18(),
    "torchvision-resnet50": lambda: models.resnet50(),
    "torchvision-vgg11": lambda: nn.Sequential(models.vgg11_bn().features, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
}


SIBLINGS = {"resnet34", "resnet50", "torchvision-resnet50", "torchvision-vgg11", "mobilenetv2"}
"""Those whose layers another of :data:`ARCHITECTURES` has too."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SIBLINGS else []) for name in ARCHITECTURES]
)
def test_whole_networks_agree_with_torch(name):
    torch.manual_seed(0)
    module = prune(randomise(ARCHITECTURES[name]()))
    size = 45 if name in ("resnet18", "resnet50_rigl", "lite0") else 32
    assert difference(module, images(5, 3, size, size)) < 1e-4


@pytest.mark.parametrize(
    ("checkpoint", "count"), [("mini.dense", 1), ("mini.acdc_s95", 33), ("mini.rigl_s80", 1), ("mini.acdc_2to4", 33)]
)
def test_embedded_checkpoints_agree_with_torch(checkpoint, count):
    module = sparsebench.load(checkpoint).module
    assert difference(module, images(count, 3, 32, 32)) < 1e-4
    assert difference(module, images(count, 3, 30, 30)) < 1e-4


def layers(masks) -> nn.Module:
    torch.manual_seed(2)
    module = nn.Sequential(
        nn.Conv2d(3, 20, 3, 2, 1), nn.ReLU(), nn.Conv2d(20, 36, 1), nn.ReLU6(), nn.Conv2d(36, 36, 3, padding=1),
        nn.ReLU(), nn.Conv2d(36, 24, 1, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip
    weights = {f"{i}.weight": module[i].weight for i in (2, 4, 6)}
    with torch.no_grad():
        for key, mask in masks({k: w.detach() for k, w in weights.items()}).items():
            weights[key].mul_(mask)
    return module


def holes(weights):
    """Empty output channels, input channels, a whole layer."""
    masks = {key: torch.ones_like(value) for key, value in weights.items()}
    masks["2.weight"][::3] = 0
    masks["4.weight"][:, 1::2] = 0
    masks["6.weight"][:] = 0
    return masks


MASKS = {
    "dense": lambda w: {},
    "uniform": lambda w: uniform_masks({k: v.abs() for k, v in w.items()}, 0.9),
    "global": lambda w: global_masks({k: v.abs() for k, v in w.items()}, 0.9),
    "erk": lambda w: erk_masks({k: v.abs() for k, v in w.items()}, 0.8),
    "2:4": lambda w: nm_masks({k: v.abs() for k, v in w.items()}, 0.5, (2, 4)),
    "holes": holes,
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("isa", list(instruction_sets()))
def test_masks_of_every_kind_on_every_instruction_set(kind, isa):
    module = layers(MASKS[kind])
    batch = images(5, 3, 30, 30)
    engine = SparseEngine(module, 1, (5, 3, 30, 30), isa=isa, measure=False)
    with torch.inference_mode():
        expected = module(batch)
    torch.testing.assert_close(engine(batch), expected, rtol=1e-4, atol=1e-5)


@given(st.data())
def test_any_convolution_agrees_with_torch(data):
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    kernel, groups = (draw(1, 5), draw(1, 5)), draw(1, 2)
    inputs, outputs, size = groups * draw(1, 9), groups * draw(1, 13), (draw(5, 23), draw(5, 23))
    conv = nn.Conv2d(
        inputs, outputs, kernel, draw(1, 2), (draw(0, 3), draw(0, 3)), draw(1, 1), groups, bias=data.draw(st.booleans())
    )
    prune(
        nn.Sequential(nn.Identity(), nn.Conv2d(1, 1, 1), conv), data.draw(st.sampled_from([0, 0.5, 0.9, 1])), draw(0, 9)
    )
    module = nn.Sequential(conv, nn.Flatten()).eval()
    batch, isa = images(draw(1, 18), inputs, *size), data.draw(st.sampled_from(list(instruction_sets())))
    with torch.inference_mode():
        expected = module(batch)
    found = SparseEngine(module, draw(1, 2), tuple(batch.shape), isa=isa, measure=data.draw(st.booleans()))(batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(3, 1, 1),
        nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False), nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2)), nn.AdaptiveAvgPool2d(1),
        nn.Sequential(nn.ZeroPad2d((2, 1, 0, 3)), nn.Conv2d(3, 4, 3, 2)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("size", [12, 13])
def test_pooling_agrees_with_torch(pool, size):
    module = nn.Sequential(pool, nn.Flatten()).eval()
    batch = images(3, 3, size, size) - 2  # so that padding with zeros differs from padding with minus infinity
    assert difference(module, batch) < 1e-5


class Tangled(nn.Module):
    """Values with several readers, additions that can't be fused, activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.norm, self.act = nn.BatchNorm2d(4), nn.ReLU(inplace=True)

    def forward(self, x):
        a = self.a(x)
        b = self.act(a)
        c = self.b(a) + a
        d = torch.relu(c) + c + x
        d += self.c(d)
        return (self.norm(d) + b + d + d).clamp(max=2.5).mean((2, 3))


def test_a_tangled_graph_agrees_with_torch():
    torch.manual_seed(3)
    assert difference(randomise(Tangled()), images(3, 4, 9, 7)) < 1e-5


def test_bits_depend_on_neither_threads_nor_batch_nor_tiles():
    torch.manual_seed(0)
    module, batch = prune(timm.create_model("resnet18", num_classes=0)), images(33, 3, 40, 40)
    alone = SparseEngine(module, 1, (33, 3, 40, 40), measure=False)
    expected = alone(batch)
    assert torch.equal(SparseEngine(module, 2, (1, 3, 40, 40), measure=True)(batch), expected)
    assert torch.equal(alone(batch), expected)
    for count in (1, 5, 8):
        assert torch.equal(alone(batch[:count]), expected[:count])
    assert torch.equal(torch.cat([alone(batch[20:]), alone(batch[:20])]), torch.cat([expected[20:], expected[:20]]))


def test_any_memory_layout_and_float_type():
    module = layers(MASKS["uniform"])
    engine = SparseEngine(module, 1, (4, 3, 20, 20), measure=False)
    batch = images(4, 3, 20, 20)
    expected = engine(batch)
    assert torch.equal(engine(batch.to(memory_format=torch.channels_last)), expected)
    assert torch.equal(engine(batch.transpose(2, 3).contiguous().transpose(2, 3)), expected)
    assert torch.equal(
        engine(images(8, 3, 20, 40)[::2, :, :, ::2]), engine(images(8, 3, 20, 40)[::2, :, :, ::2].clone())
    )
    assert torch.equal(engine(batch.double().requires_grad_()), expected)
    assert not torch.equal(engine(batch.bfloat16()), expected)
    assert engine(batch[:0]).shape == (0, 24)
    assert torch.equal(engine(images(2, 3, 31, 17)), engine(images(2, 3, 31, 17)))  # another size of image


@pytest.mark.parametrize(
    "batch", [torch.zeros(2, 4, 20, 20), torch.zeros(3, 20, 20), torch.zeros(2, 3, 20, 20, dtype=torch.uint8)]
)
def test_what_is_no_batch_is_bad_input(batch):
    engine = SparseEngine(layers(MASKS["dense"]), 1, (4, 3, 20, 20), measure=False)
    with pytest.raises(InputError, match="engine 'sparse' got a batch"):
        engine(batch)
    with pytest.raises(InputError):
        engine(torch.zeros(2, 3, 0, 20))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_as_torch_has_it(value):
    module = layers(MASKS["uniform"])
    batch = images(11, 3, 20, 20)
    batch[3, 1, 7, 7] = value
    with torch.inference_mode():
        expected = module(batch)
    found = SparseEngine(module, 1, (11, 3, 20, 20), measure=False)(batch)
    assert not expected[3].isfinite().all()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_one_engine_may_be_called_from_several_threads():
    module = layers(MASKS["uniform"])
    engine = SparseEngine(module, 2, (8, 3, 24, 24), measure=False)
    batches = [images(8, 3, 24, 24, seed=seed) for seed in range(4)]
    expected = [engine(batch) for batch in batches]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(20):
            if not torch.equal(engine(batches[index]), expected[index]):
                wrong.append(index)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 1), nn.Softsign())

    def forward(self, x):
        x = self.conv(x)
        return (x * self.gate(x)).mean((2, 3))


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (Gated(), r"layer 'gate.1' \(Softsign\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, 3, dilation=2), nn.Flatten()), r"layer '0' \(Conv2d\): stride 3, dilated"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.LocalResponseNorm(2), nn.Flatten()), r"layer '1' \(LocalResponseNorm\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Flatten()), r"layer '0' \(Conv2d\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), "one feature vector"),
        (timm.create_model("swin_tiny_patch4_window7_224", num_classes=0), r"engine 'sparse'"),
    ],
    ids=["activation", "stride", "norm", "reflect", "no-vector", "windows"],
)
def test_a_layer_that_is_not_understood_is_named(module, named):
    with pytest.raises(InputError, match=named):
        SparseEngine(module.eval(), 1, (2, 3, 224, 224), measure=False)


def test_an_instruction_set_can_be_chosen(monkeypatch):
    module = layers(MASKS["uniform"])
    monkeypatch.setenv("SPARSEBENCH_ISA", list(instruction_sets())[-1])
    assert SparseEngine(module, 1, (2, 3, 9, 9), measure=False).isa == list(instruction_sets())[-1]
    monkeypatch.setenv("SPARSEBENCH_ISA", "mmx")
    with pytest.raises(InputError, match="unknown instruction set 'mmx'"):
        SparseEngine(module, 1, (2, 3, 9, 9), measure=False)


def test_small_batches_are_compiled_for_fewer_lanes(monkeypatch):
    monkeypatch.delenv("SPARSEBENCH_ISA", raising=False)
    module = prune(randomise(timm.create_model("mini", num_classes=0)))
    sets = instruction_sets()
    if not {"avx512", "avx2"} <= set(sets):
        pytest.skip("needs a processor with AVX-512")
    engine = SparseEngine(module, 1, (8, 3, 32, 32), isa="avx512", measure=False)
    few = engine.for_batches_of(8)
    assert (few.isa, few.lanes) == ("avx2", 8)
    assert engine.for_batches_of(9) is engine
    assert few.for_batches_of(1) is few
    batch = images(5, 3, 32, 32)
    assert (few(batch) - engine(batch)).abs().max() < 1e-5 * engine(batch).abs().max()
    monkeypatch.setenv("SPARSEBENCH_ISA", "avx512")
    assert engine.for_batches_of(8) is engine
