"""What a walk sees of each layer is what whole forward passes would show, and it runs little twice."""

from __future__ import annotations

from collections import Counter

import pytest
import timm
import torch
from torch import Tensor, nn

from sparsebench.pruning.walk import Walk


class Block(nn.Module):
    """A skip connection around a sequence, in which layers come before, inside and after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.last = nn.Linear(width, width)

    def forward(self, inputs: Tensor) -> Tensor:
        now = self.first(inputs)
        return self.last(now + self.inner(now)) + inputs


class Reused(nn.Module):
    """One sequence run twice, one whose children are run by hand, and a skip around all of them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.twice = nn.Sequential(Block(width), nn.Linear(width, width))
        self.by_hand = nn.Sequential(Block(width), Block(width))
        self.stages = nn.Sequential(Block(width), nn.Sequential(Block(width), Block(width)), nn.Linear(width, width))
        self.last = nn.Linear(width, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        now = self.twice(self.twice(inputs))
        first = self.by_hand[0](now)
        return self.last(self.stages(first + self.by_hand[1](now)) + inputs)


def networks() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    torch.manual_seed(0)
    return {
        "plain": (nn.Sequential(nn.Linear(6, 6), nn.Tanh(), Block(6), nn.Linear(6, 6)), (6,)),
        "reused": (Reused(6), (6,)),
        "resnet": (timm.create_model("resnet18", channels=(8, 8, 8, 8), num_classes=2), (3, 32, 32)),
        "inverted residuals": (timm.create_model("mobilenetv3_small_050", num_classes=2), (3, 32, 32)),
        "attention": (timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=2), (3, 32, 32)),
    }


def layers_of(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def whole_passes(model: nn.Module, name: str, batches: list[Tensor]) -> list[Tensor]:
    found: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    with torch.no_grad():
        for images in batches:
            model(images)
    handle.remove()
    return found


@pytest.mark.parametrize("name", ["plain", "reused", "resnet", "inverted residuals", "attention"])
def test_each_layer_is_given_what_a_whole_forward_pass_gives_it(name: str) -> None:
    model, shape = networks()[name]
    model.eval()
    batches = [torch.randn(2, *shape), torch.randn(3, *shape)]
    walk = Walk(model, batches)
    seen = []
    for layer in walk.order(layers_of(model)):
        found: list[Tensor] = []
        walk.visit(layer, found.append)
        expected = whole_passes(model, layer, batches)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other), layer
        with torch.no_grad():  # as pruning does
            model.get_submodule(layer).weight.mul_(0.5)
        seen.append(layer)
    assert sorted(seen) == sorted(layers_of(model))
    assert not any("forward" in vars(module) or module._forward_pre_hooks for module in model.modules())


def test_the_blocks_before_a_layer_are_not_run_again_and_again() -> None:
    model, shape = networks()["inverted residuals"]
    model.eval()
    runs: Counter[str] = Counter()
    walk = Walk(model, [torch.randn(1, *shape)])
    layers = walk.order(layers_of(model))
    for name in layers:
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: runs.update([name]))
    for layer in layers:
        walk.visit(layer, lambda _: None)
    inside = [runs[name] for name in layers if name.startswith("blocks.")]
    assert len(inside) == 51
    assert max(inside) <= 12
    assert sum(inside) < 6 * len(inside)
