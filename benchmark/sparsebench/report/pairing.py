"""Which runs of two checkpoints belong together, and which runs of one show how much chance alone changes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Level = tuple[int, int]
"""The replicate and the seed of a run."""


def levels_of(runs: pd.DataFrame) -> dict[Level, str]:
    """Return the record keys of a checkpoint's runs on one task by replicate and seed, in their order."""
    numbers = runs["seed"].fillna(0).astype(int)
    replicates = runs["replicate"].fillna(0).astype(int)
    found = zip(replicates, numbers, runs["record_key"], strict=True)
    return {(replicate, seed): str(key) for replicate, seed, key in sorted(found)}


def paired(first: dict[Level, str], second: dict[Level, str]) -> list[tuple[Level, str, str]]:
    """Return pairs of runs, of the same replicate and seed; where there are none, in order.

    Returns
    -------
    list of (level of the first run, its key, the second's key)
    """
    common = [level for level in first if level in second]
    if common:
        return [(level, first[level], second[level]) for level in common]
    return [(level, a, b) for (level, a), b in zip(first.items(), second.values(), strict=False)]


def heads(runs: dict[Level, str]) -> list[tuple[str, str]]:
    """Return pairs of runs that differ in the head's seed alone: each seed with the next of the same replicate."""
    return [(a, b) for ((one, _), a), ((other, _), b) in pairwise(runs.items()) if one == other]


def replicates(runs: dict[Level, str]) -> list[tuple[str, str]]:
    """Return pairs of runs that differ in the upstream training alone: each replicate with the next, of one seed."""
    seeds: dict[int, list[str]] = {}
    for (_, seed), key in runs.items():
        seeds.setdefault(seed, []).append(key)
    return next((list(pairwise(keys)) for keys in seeds.values() if len(keys) > 1), [])
