"""Where the sparse engine puts maps and weights: strips, sums in the place of what they add, pairs of channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparsebench.engines.sparse import SparseEngine, available, instruction_sets
from sparsebench.engines.sparse.graph import Convolution, Network, Value, Window
from sparsebench.engines.sparse.layout import lay_out
from sparsebench.engines.sparse.library import Kind
from sparsebench.engines.sparse.tracing import Traced
from sparsebench.engines.sparse.weights import nonzeros, pack_pairs, paired

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")


class Block(nn.Module):
    """A 3x3 convolution between two 1x1 ones, around which its input is added."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.first = nn.Conv2d(3, 12, 3, 1, 1), nn.Conv2d(12, 8, 1)
        self.middle, self.last = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 12, 1)
        self.twice = twice

    def forward(self, x: Tensor) -> Tensor:
        stem = torch.relu(self.stem(x))
        y = torch.relu(self.last(torch.relu(self.middle(torch.relu(self.first(stem))))) + stem)
        return (y + stem if self.twice else y).mean((2, 3))


def network_of(module: nn.Module, size: int) -> Network:
    with torch.no_grad():
        return Traced(module.eval()).network(3, size, size)


def layer(network: Network, name: str) -> Convolution:
    (found,) = (each for each in network.layers if each.name == name and isinstance(each, Convolution))
    return found


def test_a_sum_takes_the_place_of_what_it_adds():
    network = network_of(Block(twice=False), 20)
    places, last = lay_out(network, 16), layer(network, "last")
    assert last.residual is not None
    assert places.of(last.y).offset == places.of(last.residual).offset


def test_a_sum_has_its_own_place_where_what_it_adds_is_read_again():
    network = network_of(Block(twice=True), 20)
    places, last = lay_out(network, 16), layer(network, "last")
    assert last.residual is not None
    one, two = places.of(last.y), places.of(last.residual)
    assert one.offset + one.size <= two.offset or two.offset + two.size <= one.offset


def test_maps_that_are_read_position_by_position_lie_in_strips():
    network = network_of(Block(twice=False), 20)
    places = lay_out(network, 16)
    assert places.of(layer(network, "middle").y).strip == 7  # 20 columns: 7, 7 and 6
    assert places.strip(layer(network, "last")) == 7
    assert places.of(layer(network, "first").y).strip > 20  # a 3x3 convolution reads it
    assert places.of(network.input).strip > 20


def position_wise(weight: np.ndarray, width: int) -> Convolution:
    outputs, inputs = weight.shape
    x, y = Value(inputs, 1, width), Value(outputs, 1, width)
    bias = np.zeros(outputs, np.float32)
    return Convolution(name="", x=x, y=y, weight=weight[:, :, None, None], bias=bias, window=Window((1, 1)))


@given(
    outputs=st.integers(1, 9), inputs=st.integers(1, 40), block=st.integers(1, 40),
    density=st.floats(0, 1), seed=st.integers(0, 99),
)  # fmt: skip
def test_pairs_hold_each_weight_once(outputs, inputs, block, density, seed):
    source = np.random.default_rng(seed)
    weight = np.where(source.random((outputs, inputs)) < density, source.normal(size=(outputs, inputs)), 0)
    conv = position_wise(weight.astype(np.float32), 8)
    x = lay_out(Network([conv], conv.x, conv.y), 16).of(conv.x)
    packed = pack_pairs(conv, nonzeros(conv, x, 16), x, block)
    assert packed.entries is not None
    assert packed.both is not None
    assert packed.both_starts is not None
    found, count = np.zeros((outputs, inputs), np.float32), np.zeros((outputs, inputs), int)
    for b in range(packed.blocks):
        for c in range(outputs):
            for offset, value in packed.entries[packed.starts[b, c] : packed.starts[b, c + 1]]:
                channel = offset // x.channel
                assert channel // block == b
                found[c, channel] += value
                count[c, channel] += 1
        for pair in range((outputs + 1) // 2):
            for offset, values in packed.both[packed.both_starts[b, pair] : packed.both_starts[b, pair + 1]]:
                channel = offset // x.channel
                assert channel // block == b
                found[2 * pair : 2 * pair + 2, channel] += values
                count[2 * pair : 2 * pair + 2, channel] += 1
    np.testing.assert_array_equal(found, conv.weight[:, :, 0, 0])
    np.testing.assert_array_equal(count, conv.weight[:, :, 0, 0] != 0)


def many_left(outputs: int, inputs: int, density: float) -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, inputs, 1), nn.ReLU(), nn.Conv2d(inputs, outputs, 1), nn.ReLU6(), nn.Flatten())
    with torch.no_grad():
        module[2].weight.mul_(torch.rand_like(module[2].weight) < density)
    return module.eval()


@pytest.mark.parametrize("isa", list(instruction_sets()))
@pytest.mark.parametrize(("outputs", "inputs", "width"), [(7, 100, 4), (24, 333, 13), (3, 20, 30)])
def test_paired_layers_agree_with_torch(isa, outputs, inputs, width):
    module = many_left(outputs, inputs, 0.5)
    batch = torch.randn(5, 3, 3, width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = module(batch)
    engine = SparseEngine(module, 2, tuple(batch.shape), isa=isa)
    paired = [op.kind == Kind.PAIR for op in engine.program(3, width).ops]
    assert any(paired) == (instruction_sets()[isa].pair_tile > 0)
    found = engine(batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for threads in (1, 3):  # and no bit depends on measuring or threads
        assert torch.equal(SparseEngine(module, threads, tuple(batch.shape), isa=isa, measure=False)(batch), found)


def test_few_or_nearly_all_weights_are_not_paired():
    conv, isa = position_wise(np.ones((4, 8), np.float32), 8), next(iter(instruction_sets().values()))
    assert [paired(conv, count, replace(isa, pair_tile=8)) for count in (1, 16, 32)] == [False, True, False]
    assert not paired(conv, 16, replace(isa, pair_tile=0))  # too few registers
