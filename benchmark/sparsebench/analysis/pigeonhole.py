"""The pigeonhole bootstrap: every crossed factor is resampled apart (Owen 2007, Annals of Applied Statistics 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .components import Levels
from .intervals import Interval
from .panels import Array, Design, Panel

_AT_ONCE = 50  # draws of which the images' weights are in memory together


def bootstrap(
    panels: Sequence[Panel],
    references: Mapping[str, str],
    *,
    draws: int = 1000,
    seed: int = 0,
    random_tasks: bool = False,
) -> Array:
    r"""Return bootstrap draws of the mean relative error increase of entries.

    In each draw the test images of a task (its units, within strata), the seeds, and the upstream replicates are drawn
    with replacement, each factor apart, and the same ones for all models that have them: models are paired by image, by
    seed and by replicate. A replicate's backbone serves all tasks, so replicates are drawn once for all tasks. Owen
    shows that the variance is at least the true one: what belongs to one image and seed counts three times.

    Parameters
    ----------
    panels : sequence of Panel
        The tasks; each has all entries and references, and a reference makes errors on each.
    references : mapping of str to str
        Entry to reference.
    draws : int
        Number of draws.
    seed : int
        Equal seeds give equal draws.
    random_tasks : bool
        Whether tasks are drawn, too.

    Returns
    -------
    ndarray, shape (entries, draws)
    """
    rng = np.random.default_rng(seed)
    names = list(dict.fromkeys([*references, *references.values()]))
    entry = [names.index(name) for name in references]
    base = [names.index(name) for name in references.values()]
    upstream: dict[tuple[int, ...], npt.NDArray[np.int64]] = {}
    total, weight = np.zeros((len(entry), draws)), np.zeros(draws)
    chosen = _counts(rng, len(panels), draws) if random_tasks else np.ones((len(panels), draws))
    for panel, times in zip(panels, chosen, strict=True):
        errors = _errors(panel, names, draws, rng, upstream)
        least = panel.design.unit_weights.min() / 2.0  # half an image: a draw in which the reference errs on none
        total += times * (errors[entry] / np.maximum(errors[base], least) - 1.0)
        weight += times
    return np.asarray(total / weight)


def percentile_interval(values: Array, value: float, scope: tuple[str, ...], confidence: float = 0.95) -> Interval:
    """Return the percentile interval of one row of bootstrap draws.

    It has no degrees of freedom: with two or three replicates or seeds that dominate it covers less than it says.
    """
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high), scope)


def _errors(
    panel: Panel,
    names: list[str],
    draws: int,
    rng: np.random.Generator,
    upstream: dict[tuple[int, ...], npt.NDArray[np.int64]],
) -> Array:
    """Return the errors of models in each draw, shape (models, draws)."""
    design = panel.design
    stacked = np.concatenate([panel.models[name].values for name in names]).astype(np.float32)
    by_run = np.empty((len(stacked), draws))
    for start in range(0, draws, _AT_ONCE):
        count = min(_AT_ONCE, draws - start)
        weights = _image_weights(design, rng, count)
        by_run[:, start : start + count] = stacked @ weights.T
    result, place = np.empty((len(names), draws)), 0
    drawn: dict[Levels, Array] = {}
    for row, name in enumerate(names):
        levels = panel.models[name].levels
        ordered = tuple(sorted(levels))
        if ordered not in drawn:
            drawn[ordered] = _level_weights(ordered, draws, rng, upstream)
        own = drawn[ordered][[ordered.index(level) for level in levels]]
        result[row] = (own * by_run[place : place + len(levels)]).sum(axis=0)
        place += len(levels)
    return result


def _counts(rng: np.random.Generator, n: int, draws: int) -> npt.NDArray[np.int64]:
    """Return how often each of n things is drawn, shape (n, draws)."""
    return np.asarray(rng.multinomial(n, np.full(n, 1.0 / n), size=draws).T)


def _image_weights(design: Design, rng: np.random.Generator, draws: int) -> npt.NDArray[np.float32]:
    """Return the images' weights in the metric when units are drawn within their strata, shape (draws, n)."""
    order = np.argsort(design.unit_strata, kind="stable")
    sizes = np.bincount(design.unit_strata)
    starts, own = np.repeat(np.cumsum(sizes) - sizes, sizes), np.repeat(sizes, sizes)
    result = np.empty((draws, len(design.weights)), dtype=np.float32)
    totals = np.bincount(design.strata, weights=design.weights)
    for row in result:
        picked = order[starts + (rng.random(len(own)) * own).astype(np.int64)]
        weights = np.bincount(picked, minlength=design.n_units)[design.units] * design.weights
        drawn = np.bincount(design.strata, weights=weights, minlength=len(totals))
        # a mean over what was drawn: clusters differ in size
        row[:] = weights * (totals / np.maximum(drawn, 1e-300))[design.strata]
    return result


def _level_weights(
    levels: Levels, draws: int, rng: np.random.Generator, upstream: dict[tuple[int, ...], npt.NDArray[np.int64]]
) -> Array:
    """Return the weights of a model's runs when replicates and, within them, seeds are drawn, shape (runs, draws)."""
    numbers = tuple(sorted({replicate for replicate, _ in levels}))
    if numbers not in upstream:
        upstream[numbers] = _counts(rng, len(numbers), draws)
    weights = np.zeros((len(levels), draws))
    for number, times in zip(numbers, upstream[numbers], strict=True):
        rows = [row for row, (replicate, _) in enumerate(levels) if replicate == number]
        weights[rows] = times * _counts(rng, len(rows), draws) / (len(rows) * len(numbers))
    return weights
