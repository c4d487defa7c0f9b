"""What the sparse engine changes about a network before it lays it out: the features stay what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsebench.engines.sparse import SparseEngine, available, instruction_sets, tracing
from sparsebench.engines.sparse.graph import Convolution, Network, Pool
from sparsebench.engines.sparse.liveness import drop_unread
from sparsebench.engines.sparse.strides import close_gaps
from sparsebench.engines.sparse.tracing import Traced

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")


class Bottleneck(nn.Module):
    """Two 1x1 convolutions around a 3x3 one, and a strided 1x1 one beside them."""

    def __init__(self, sparsity: float, seed: int, stride: int = 2) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.middle = nn.Conv2d(6, 20, 1), nn.Conv2d(20, 16, 3, stride, 1)
        self.last, self.beside = nn.Conv2d(16, 24, 1), nn.Conv2d(6, 24, 1, stride)
        with torch.no_grad():
            for layer in (self.first, self.middle, self.last, self.beside):
                layer.weight.mul_(torch.rand_like(layer.weight) >= sparsity)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(torch.relu(self.middle(torch.relu(self.first(x)))))
        return torch.relu(y + self.beside(x)).mean((2, 3))


def network_of(module: nn.Module, size: int = 9) -> Network:
    with torch.no_grad():
        return Traced(module.eval()).network(6, size, size)


def features(module: nn.Module, batch: Tensor, monkeypatch: pytest.MonkeyPatch, *without: str) -> Tensor:
    with monkeypatch.context() as patch:
        for name in without:
            patch.setattr(tracing, name, lambda network: network)
        return SparseEngine(module.eval(), 1, tuple(batch.shape), measure=False)(batch)


def convolutions(network: Network) -> dict[str, Convolution]:
    return {layer.name: layer for layer in network.layers if isinstance(layer, Convolution)}


def test_a_channel_that_nothing_reads_is_left_out_and_so_is_what_feeds_it_alone():
    module = Bottleneck(0, 0)
    with torch.no_grad():
        module.last.weight[:, 4:] = 0
        module.middle.weight[:4, 10:] = 0
    found = convolutions(network_of(module))
    assert found["middle"].weight.shape[:2] == (4, 10)
    assert found["first"].weight.shape[:2] == (10, 6)
    assert found["last"].weight.shape[:2] == (24, 4)
    np.testing.assert_array_equal(found["middle"].bias, module.middle.bias[:4].detach())


@given(sparsity=st.floats(0.5, 1), seed=st.integers(0, 99), stride=st.integers(1, 2))
def test_leaving_out_and_closing_gaps_change_nothing_but_the_order_of_sums(sparsity, seed, stride):
    module = Bottleneck(sparsity, seed, stride)
    batch = torch.randn(3, 6, 11, 9, generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        plain = features(module, batch, patch, "drop_unread", "close_gaps")
        torch.testing.assert_close(features(module, batch, patch), plain, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(features(module, batch, patch, "close_gaps"), plain, rtol=1e-5, atol=1e-6)


def test_what_is_read_otherwise_keeps_its_channels():
    """Residuals, pools and grouped convolutions read every channel; the output is read by the caller."""

    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(6, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
            self.d, self.e = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 5, 1)

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x)
            pooled = nn.functional.max_pool2d(self.d(self.c(self.b(a) + a)), 2)
            return self.e(pooled).mean((2, 3))

    module = Read()
    with torch.no_grad():
        for layer in (module.b, module.d, module.e):
            layer.weight[:, ::2] = 0
        module.c.weight[::2] = 0
    found = convolutions(network_of(module))
    assert {name: layer.weight.shape[0] for name, layer in found.items()} == {"a": 8, "b": 8, "c": 8, "d": 8, "e": 5}


def test_a_map_keeps_a_channel_where_nothing_reads_any():
    module = Bottleneck(0, 1)
    with torch.no_grad():
        module.last.weight.zero_()
    batch = torch.randn(2, 6, 9, 9)
    assert convolutions(network_of(module))["middle"].weight.shape[0] == 1
    with torch.inference_mode():
        torch.testing.assert_close(SparseEngine(module, 1, (2, 6, 9, 9), measure=False)(batch), module(batch))


def test_a_strided_layer_of_one_position_reads_a_copy_without_gaps():
    layers = network_of(Bottleneck(0, 0)).layers
    at = next(i for i, layer in enumerate(layers) if layer.name == "beside")
    before = layers[at - 1]
    assert isinstance(before, Pool)
    assert (before.y.height, before.y.width, before.window.stride) == (5, 5, 2)
    assert layers[at].x is before.y
    assert convolutions(network_of(Bottleneck(0, 0)))["beside"].window.stride == 1
    assert convolutions(network_of(Bottleneck(0, 0)))["middle"].window.stride == 2


def test_both_leave_a_network_that_needs_neither_as_it_is():
    network = network_of(Bottleneck(0, 0, stride=1))
    assert drop_unread(network).layers == network.layers
    assert close_gaps(network).layers == network.layers


@pytest.mark.parametrize("isa", list(instruction_sets()))
def test_a_mean_that_is_read_with_padding_finds_zeros_around_it(isa):
    """Its memory held another map before."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 40, 3, padding=1), nn.Conv2d(40, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 3, padding=1),
        nn.Flatten(),
    ).eval()  # fmt: skip
    batch = torch.randn(5, 3, 9, 9)
    engine = SparseEngine(module, 1, (5, 3, 9, 9), isa=isa, measure=False)
    with torch.inference_mode():
        torch.testing.assert_close(engine(batch), module(batch), rtol=1e-4, atol=1e-5)
