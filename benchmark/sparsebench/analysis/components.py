r"""Variance components of statistics over crossed random factors: test images, seeds, upstream replicates, tasks.

The error of a model with seed s on image j is :math:`\mu + \alpha_s + \beta_j + \epsilon_{sj}`, all random. For a mean
over S seeds and n images the mean squares of the two-way layout (Searle, Casella and McCulloch 1992, chapter 4) give

.. math:: \widehat{\mathrm{Var}} = V_\mathrm{seeds} + V_\mathrm{images} - V_\mathrm{both},

where the first is the variance of the seeds' means over S, the second that of the images' means over n, and the third
what both contain: the variance of what is neither's, over nS. Where a model has several upstream replicates these take
the place of the seeds, which are nested in them; as one backbone serves all tasks, a replicate's mean is over tasks.

Models whose runs have the same replicates and seeds are paired by them, all models are paired by image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .panels import Array, Panel
from .statistics import Linearised

Levels = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Component:
    """One estimated covariance matrix of p statistics.

    Parameters
    ----------
    factor : str
        ``seeds``, ``replicates``, ``tasks``, or ``both`` for what images share with seeds or replicates.
    matrix : ndarray, shape (p, p)
        Its contribution to the covariance.
    df : float
        Degrees of freedom.
    """

    factor: str
    matrix: Array
    df: float


@dataclass(frozen=True, eq=False)
class Components:
    """The covariance components of p statistics.

    Parameters
    ----------
    statistics : Linearised
        What they are of.
    residuals : tuple of ndarray, shape (p, units)
        By task: what each unit of test images adds to the deviation of the statistics.
    levels : tuple of Component
        Seeds, by task, or replicates.
    both : tuple of Component
        What images and levels share.
    uncovered : tuple of (model, factor)
        Factors of which a model has a single level, so that its variance can't be seen.
    tasks : Component or None
        Where tasks are a random sample: their own component, which contains images and seeds.
    """

    statistics: Linearised
    residuals: tuple[Array, ...]
    levels: tuple[Component, ...]
    both: tuple[Component, ...]
    uncovered: frozenset[tuple[str, str]]
    tasks: Component | None = None

    @cached_property
    def images(self) -> Array:
        """The component of test images, shape (p, p)."""
        p = len(self.statistics.values)
        return np.asarray(sum((u @ u.T for u in self.residuals), np.zeros((p, p))))


def components(statistics: Linearised, random_tasks: bool = False) -> Components:
    """Estimate the covariance components of statistics.

    Parameters
    ----------
    statistics : Linearised
        The statistics.
    random_tasks : bool
        Whether the tasks are a random sample of a kind of task.
    """
    p = len(statistics.values)
    residuals: list[Array] = []
    levels: list[Component] = []
    both: list[Component] = []
    uncovered: set[tuple[str, str]] = set()
    replicates: dict[tuple[int, ...], list[Array]] = {}
    for panel, gradients in zip(statistics.panels, statistics.gradients, strict=True):
        design = panel.design
        total = np.zeros((p, design.n_units))
        for group, names in _paired(panel, gradients).items():
            values, factor, numbers = _by_level(panel, gradients, names, group)  # (p, levels, n)
            units = design.residuals(values)
            total += units.mean(axis=1)
            count = len(numbers)
            for missing in {"seeds", "replicates"} - ({factor, "seeds"} if count > 1 else set()):
                uncovered |= {(name, missing) for name in names}
            if count < 2:
                continue
            units -= units.mean(axis=1, keepdims=True)
            left = units.reshape(p, -1)
            matrix = left @ left.T / (count * (count - 1))
            both.append(Component("both", matrix, (count - 1) * max(design.n_units - 1, 1)))
            means = design.mean(values)
            if factor == "replicates":
                replicates.setdefault(numbers, []).append(means)
            else:
                levels.append(Component("seeds", _covariance_of_mean(means), count - 1))
        residuals.append(total)
    for numbers, parts in replicates.items():
        levels.append(Component("replicates", _covariance_of_mean(np.sum(parts, axis=0)), len(numbers) - 1))
    tasks = None
    if random_tasks and len(residuals) > 1:
        tasks = Component("tasks", _covariance_of_mean(statistics.by_task), len(residuals) - 1)
    return Components(statistics, tuple(residuals), tuple(levels), tuple(both), frozenset(uncovered), tasks)


def _covariance_of_mean(values: Array) -> Array:
    """Return the covariance matrix of the means of p rows of L values, shape (p, L) to (p, p)."""
    left = values - values.mean(axis=1, keepdims=True)
    count = values.shape[1]
    return np.asarray(left @ left.T / (count * (count - 1)))


def _paired(panel: Panel, gradients: dict[str, Array]) -> dict[Levels, list[str]]:
    """Return the models that matter, by their replicates and seeds."""
    groups: dict[Levels, list[str]] = {}
    for name, gradient in gradients.items():
        if gradient.any():
            groups.setdefault(tuple(sorted(panel.models[name].levels)), []).append(name)
    return groups


def _by_level(
    panel: Panel, gradients: dict[str, Array], names: list[str], group: Levels
) -> tuple[Array, str, tuple[int, ...]]:
    """Return what paired models add to the statistics by level and image, what the levels are, and their numbers."""
    numbers = tuple(sorted({replicate for replicate, _ in group}))
    factor = "replicates" if len(numbers) > 1 else "seeds"
    if factor == "seeds":
        numbers = tuple(seed for _, seed in group)
    p, n = len(next(iter(gradients.values()))), len(panel.labels)
    values = np.zeros((p, len(numbers), n))
    for name in names:
        wrong = panel.models[name]
        if factor == "seeds":
            order = sorted(range(len(wrong.levels)), key=wrong.levels.__getitem__)
            own = wrong.values[order].astype(np.float64)
        else:
            of = np.array([replicate for replicate, _ in wrong.levels])
            own = np.stack([wrong.values[of == number].mean(axis=0) for number in numbers])
        for row in np.flatnonzero(gradients[name]):
            values[row] += gradients[name][row] * own
    return values, factor, numbers
