"""The steps of an epoch, divided among processes."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsebench.transfer.finetune.shares import Crew, batch_sizes, divided, steps_of


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 3))
def test_a_part_is_divided_equally_and_completely(count: int, processes: int, least: int) -> None:
    shares = divided(count, processes, least)
    assert sum(shares) == count
    assert len(shares) == processes
    having = [share for share in shares if share]
    assert max(having) - min(having) <= 1
    assert min(having) >= min(least, count)
    assert shares == sorted(shares, reverse=True)  # the first process is never without


@given(st.integers(1, 200), st.integers(1, 40), st.none() | st.integers(2, 20), st.integers(1, 5), st.integers(1, 2))
def test_the_processes_compute_together_what_one_does(
    count: int, size: int, microbatch: int | None, processes: int, least: int
) -> None:
    alone = steps_of(count, size, microbatch, Crew())
    each = [steps_of(count, size, microbatch, Crew(processes, rank, processes, least)) for rank in range(processes)]
    assert [len(step.positions) for step in alone] == batch_sizes(count, size)
    assert np.array_equal(np.concatenate([step.positions for step in alone]), np.arange(count))
    for step, *shared in zip(alone, *each, strict=True):
        counted = [own.positions[mask(own)] for own in shared]
        assert sorted(np.concatenate(counted)) == list(step.positions)
        assert all(own.images == step.images == len(step.positions) for own in shared)
        assert abs(sum(part.share for own in shared for part in own.parts) - 1) < 1e-9
        assert all(len(own.parts) == len(step.parts) for own in shared)  # as many exchanges in each process
        assert all(len(own.positions) == sum(part.images for part in own.parts) > 0 for own in shared)


def mask(step) -> np.ndarray:
    """Return which of a step's images count."""
    return np.concatenate([np.full(part.images, part.share > 0) for part in step.parts])


@given(st.integers(2, 100), st.integers(2, 30), st.integers(2, 5), st.data())
def test_where_processes_are_lost_the_others_keep_their_images(
    count: int, size: int, processes: int, data: st.DataObject
) -> None:
    alive = data.draw(st.integers(1, processes - 1))
    rank = data.draw(st.integers(0, alive - 1))
    assume(size >= processes)
    before = steps_of(count, size, None, Crew(processes, rank, processes))
    after = steps_of(count, size, None, Crew(processes, rank, alive))
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.positions, other.positions)
        assert 0 < other.images <= one.images
    total = sum(
        part.share for its in range(alive) for part in steps_of(count, size, None, Crew(processes, its, alive))[0].parts
    )
    assert abs(total - 1) < 1e-9  # a mean over the images that are left
