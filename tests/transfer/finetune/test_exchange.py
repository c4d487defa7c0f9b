"""What processes exchange: the gradients of kept weights, exactly or in 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from peers import together
from sparsebench.transfer.finetune.parallel.kept import ExactExchange, KeptEntries, places, unpack
from sparsebench.transfer.finetune.parallel.quantised import BLOCK, QuantisedExchange, dequantise, quantise
from sparsebench.transfer.finetune.parallel.team import Peers
from sparsebench.transfer.finetune.shares import Crew


class Bucket:
    """A bucket as torch lays it out: gradients one after the other, each in its parameter's memory format."""

    def __init__(self, parameters: list[nn.Parameter], gradients: list[Tensor]) -> None:
        self._parameters = parameters
        flat = [
            torch.empty_like(p).copy_(g).as_strided((p.numel(),), (1,))
            for p, g in zip(parameters, gradients, strict=True)
        ]
        self._buffer = torch.cat(flat)

    def parameters(self) -> list[nn.Parameter]:
        return self._parameters

    def buffer(self) -> Tensor:
        return self._buffer

    def gradients(self) -> list[Tensor]:
        """In the parameters' shapes."""
        parts = self._buffer.split([p.numel() for p in self._parameters])
        return [part.as_strided(p.shape, p.stride()) for part, p in zip(parts, self._parameters, strict=True)]


@given(
    arrays.arrays(np.bool_, st.sampled_from([(4, 3, 3, 3), (5, 2, 1, 1), (7, 4), (6,), ()])),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_what_is_packed_and_unpacked_is_the_masked_gradient(kept: Any, channels_last: bool, seed: int) -> None:
    mask = torch.from_numpy(np.asarray(kept))
    layout = torch.channels_last if channels_last and mask.ndim == 4 else torch.contiguous_format
    parameter = nn.Parameter(torch.zeros(mask.shape).to(memory_format=layout))
    gradient = torch.randn(mask.shape, generator=torch.Generator().manual_seed(seed))
    bucket = Bucket([parameter], [gradient])
    index = places(parameter, mask)
    packed = bucket.buffer()[index]
    assert torch.equal(packed.sort().values, gradient[mask].reshape(-1).sort().values)
    unpack(bucket.buffer(), index, packed)
    assert torch.equal(bucket.gradients()[0], gradient * mask)


@given(
    arrays.arrays(
        np.float32,
        (2, 2 * BLOCK),
        elements=st.sampled_from([0.0, -1.0, float(np.float32(3e-4)), 1e6])
        | st.floats(-1, 1, width=32, allow_subnormal=False),
    )
)
def test_rounding_is_to_half_a_level_of_the_block(values: Any) -> None:
    given_ = torch.from_numpy(values)
    sent = quantise(given_)
    assert sent.nbytes == given_.nbytes // 4 + 4 * given_.numel() // BLOCK
    error = (dequantise(sent) - given_).abs().view(2, -1, BLOCK).amax(2)
    largest = given_.abs().view(2, -1, BLOCK).amax(2)
    assert bool((error <= largest * (0.5 / 127 + 1e-6)).all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_does_not_become_finite(bad: float) -> None:
    values = torch.ones(1, BLOCK)
    values[0, 3] = bad
    assert not dequantise(quantise(values))[0].isfinite().all()


def gradients(rank: int, step: int, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    source = torch.Generator().manual_seed(100 * step + rank)
    return [torch.randn(shape, generator=source) * 10.0 ** (k - 1) for k, shape in enumerate(shapes)]


def exchanged(kind: type[ExactExchange], steps: int) -> Callable[[int], Any]:
    """Return what a process does: exchange gradients of three parameters, the first of them masked, some times."""
    shapes: list[tuple[int, ...]] = [(8, 4, 3, 3), (3000,), (5, 7)]
    mask = torch.rand(shapes[0], generator=torch.Generator().manual_seed(0)) < 0.1

    def work(rank: int) -> Any:
        parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
        team = Peers(Crew(3, rank, 3))
        exchange = kind(team, KeptEntries(dict(zip("abc", parameters, strict=True)), {"a": mask}))
        delivered = [torch.zeros(shape, dtype=torch.double) for shape in shapes]
        sums = [torch.zeros(shape, dtype=torch.double) for shape in shapes]
        for step in range(steps):
            bucket = Bucket(parameters, gradients(rank, step, shapes))
            exchange.start(bucket).wait()  # type: ignore[arg-type]
            for total, got in zip(delivered, bucket.gradients(), strict=True):
                total += got
            for its in range(3):
                for total, made in zip(sums, gradients(its, step, shapes), strict=True):
                    total += made
        sums[0] *= mask
        flat = torch.cat([d[mask] if k == 0 else d.flatten() for k, d in enumerate(delivered)]).numpy()
        whole = torch.cat([d[mask] if k == 0 else d.flatten() for k, d in enumerate(sums)]).numpy()
        state = exchange.state()
        return (
            flat,
            whole,
            None if state is None else state.numpy(),
            team.sent["gradients"],
            bool(delivered[0][~mask].any()),
        )

    return work


def test_an_exact_exchange_sums_what_is_kept_and_counts_it() -> None:
    for delivered, whole, state, sent, elsewhere in together(3, exchanged(ExactExchange, 2)):
        np.testing.assert_allclose(delivered, whole, rtol=1e-5, atol=1e-5)
        assert state is None
        assert not elsewhere
        assert sent == 2 * (2 * 2 * 4 * len(whole))  # two steps; each sum passes twice between three processes


def test_what_was_sent_and_what_is_left_add_up_to_the_gradients() -> None:
    answers = together(3, exchanged(QuantisedExchange, 5))
    delivered, whole = answers[0][:2]
    assert all(np.array_equal(other[0], delivered) for other in answers)  # the same bits in all of them
    left = sum(answer[2].astype(float) for answer in answers)
    assert float(abs(left).max()) > 0
    np.testing.assert_allclose(delivered + left, whole, rtol=1e-4, atol=1e-4)
    exact = together(3, exchanged(ExactExchange, 5))[0][3]
    assert answers[0][3] < 0.27 * exact  # a quarter, and the scales
