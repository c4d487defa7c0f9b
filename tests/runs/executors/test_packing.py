from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import group, record
from sparsebench.runs.executors.estimate import Estimator
from sparsebench.runs.executors.packing import Array, Bundle, Limits, arranged, arrays, bundles, duration, split
from sparsebench.schema import Group

DAY = 86_400.0


def study() -> list[Group]:
    """20 checkpoints on 12 tasks in two modes with 5 and 3 seeds: 1,920 runs."""
    return [
        group(f"resnet50.m{c}", f"task{t:02d}", mode, seeds, arch="resnet50", sizes={"trainval": 2000 * (t + 1)})
        for mode, seeds in (("linear", 5), ("full", 3))
        for c in range(20)
        for t in range(12)
    ]


def seconds(part: Group) -> float:
    images = (part.task.sizes or {})["trainval"]
    return len(part.runs) * images * (0.2 if part.mode == "full" else 0.005)


def runs_of(made: list[Bundle]) -> Counter[str]:
    return Counter(run.record_key for bundle in made for part in bundle.groups for run in part.runs)


def test_full_groups_are_split_by_seed_and_linear_ones_are_not() -> None:
    assert [len(part.runs) for part in split(group(mode="full", seeds=3))] == [1, 1, 1]
    assert split(group(mode="linear", seeds=5)) == [group(mode="linear", seeds=5)]


def test_a_study_of_2000_runs_is_ordered_longest_first_and_cut_to_the_site_s_limits() -> None:
    limits = Limits(array_size=200, max_parallel=32, seconds=4 * 3600)
    began = time.perf_counter()
    made = bundles(study(), seconds, limits)
    cut = arrays(made, limits)
    assert time.perf_counter() - began < 2
    assert runs_of(made) == Counter(run.record_key for part in study() for run in part.runs)
    assert sum(runs_of(made).values()) == 1920
    times = [bundle.seconds for bundle in made]
    assert times == sorted(times, reverse=True)
    assert max(times) <= 4 * 3600
    assert [len(array.bundles) for array in cut[:-1]] == [200] * (len(cut) - 1)
    assert [bundle for array in cut for bundle in array.bundles] == made
    assert sum(array.parallel for array in cut) == 32
    assert all(array.after is None for array in cut)
    ideal = sum(times) / 32
    assert ideal <= duration(times, 32) <= 1.1 * ideal  # longest first ends evenly


def test_the_estimate_of_a_study_follows_from_a_tenth_of_it() -> None:
    part = study()
    truth = {run.record_key: seconds(g) / len(g.runs) for g in part for run in g.runs}
    known = [record(run, truth[run.record_key], (g.task.sizes or {})["trainval"]) for g in part[::10] for run in g.runs]
    learned = Estimator(known, lambda _: 4e9)
    assert sum(map(learned.group, part)) == pytest.approx(sum(truth.values()), rel=0.05)


def test_short_groups_share_a_job_and_long_ones_have_their_own() -> None:
    parts = [group(f"c{k}", seeds=1) for k in range(100)]
    times = {part.checkpoint.id: 3600.0 if k == 50 else 6.0 for k, part in enumerate(parts)}
    made = bundles(parts, lambda part: times[part.checkpoint.id], Limits(1000, 4, DAY, least=60.0))
    assert made[0].groups[0].checkpoint.id == "c50"
    assert len(made[0].groups) == 1
    assert 1 < len(made) <= 4
    each = bundles(parts[:20], lambda _: 6.0, Limits(1000, None, DAY, least=0.0))
    assert len(each) == 20


parts = st.lists(st.tuples(st.sampled_from(["linear", "full"]), st.integers(1, 4), st.floats(0.1, 1e5)), max_size=30)
limits = st.builds(
    Limits,
    array_size=st.integers(1, 20),
    max_parallel=st.none() | st.integers(1, 8),
    seconds=st.floats(60, 1e5),
    least=st.floats(0, 1000),
)


@given(parts, limits)
def test_nothing_is_lost_or_doubled_and_no_limit_exceeded(shape: list[tuple[str, int, float]], limit: Limits) -> None:
    asked = [group(f"c{k}", mode=mode, seeds=seeds) for k, (mode, seeds, _) in enumerate(shape)]
    times = {f"c{k}": time for k, (_, _, time) in enumerate(shape)}
    made = bundles(asked, lambda part: times[part.checkpoint.id], limit)
    assert runs_of(made) == Counter(run.record_key for part in asked for run in part.runs)
    for bundle in made:
        assert len(bundle.groups) == 1 or bundle.seconds <= limit.seconds / 2
    cut = arrays(made, limit)
    assert all(1 <= len(array.bundles) <= limit.array_size and array.parallel >= 1 for array in cut)
    if limit.max_parallel is not None:
        assert at_once(cut) <= limit.max_parallel


def at_once(cut: list[Array]) -> int:
    """Return how many jobs may run at once, over all ways in which arrays may end."""
    lanes: dict[int, int] = {}
    for number, array in enumerate(cut):
        lane = number if array.after is None else array.after % len(lanes)
        lanes[lane] = max(lanes.get(lane, 0), array.parallel)
    return sum(lanes.values())


def test_order_among_equals_is_the_plan_s() -> None:
    asked = [group(f"c{k}") for k in range(5)]
    assert arranged(asked, lambda _: 1.0) == asked


def test_duration_fills_the_places_as_they_become_free() -> None:
    assert duration([4, 3, 3], 2) == 6
    assert duration([], 2) == 0
