"""What models got wrong on the test images of one task, and how those images were sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..schema import Metric

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Wrong:
    """What one model got wrong on one task, run by run.

    Parameters
    ----------
    values : ndarray of bool, shape (runs, n)
        True where the predicted class isn't the label.
    levels : tuple of (replicate, seed)
        Of each run: which upstream training its backbone came from, and the seed of its head. Distinct.
    """

    values: npt.NDArray[np.bool_]
    levels: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or len(self.values) != len(self.levels) or not self.levels:
            raise ValueError(f"{len(self.levels)} runs and outcomes of shape {self.values.shape}")
        if len(set(self.levels)) != len(self.levels):
            raise ValueError("a replicate and seed occur twice")


@dataclass(frozen=True, eq=False)
class Panel:
    """One task: its test images and what each model got wrong on them.

    Parameters
    ----------
    task : str
        The task.
    labels : ndarray of int, shape (n,)
        True class indices.
    models : mapping of str to Wrong
        Outcomes by model, all on the same images in the same order. A model is a checkpoint, or several that are
        replicates of one another.
    metric : {"top1", "mean_per_class"}
        What the task's accuracy is. With ``mean_per_class`` images are resampled within classes.
    clusters : ndarray of int, shape (n,), optional
        The source of each image. Images of one source (renderings of one glyph, frames of one video) are one unit of
        sampling. By default each image is its own.
    """

    task: str
    labels: npt.NDArray[np.int64]
    models: Mapping[str, Wrong]
    metric: Metric = "top1"
    clusters: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        for name, wrong in self.models.items():
            if wrong.values.shape[1] != n:
                raise ValueError(f"{self.task} has {n} images, {name} has outcomes of {wrong.values.shape[1]}")
        if self.clusters is not None and np.shape(self.clusters) != (n,):
            raise ValueError(f"{self.task} has {n} images and {np.shape(self.clusters)} cluster labels")

    @cached_property
    def design(self) -> Design:
        """How the images were sampled."""
        return Design.of(self.labels, self.metric, self.clusters)

    def error(self, model: str) -> float:
        """Return a model's error: the mean over its replicates of the mean over their seeds, by the task's metric."""
        if model not in self._errors:
            wrong = self.models[model]
            replicates = np.array([replicate for replicate, _ in wrong.levels])
            means = np.array([self.design.mean(row) for row in wrong.values])
            own = [means[replicates == r].mean() for r in sorted(set(replicates.tolist()))]
            self._errors[model] = float(np.mean(own))
        return self._errors[model]

    @cached_property
    def _errors(self) -> dict[str, float]:
        """The errors that were asked for."""
        return {}


@dataclass(frozen=True, eq=False)
class Design:
    """How test images were sampled: their weights in the metric, the strata they were drawn within, and their units.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        Of each image in the metric; they sum to 1. ``1/n`` for top-1; ``1/(K n_k)`` for the mean over K classes.
    strata : ndarray of int, shape (n,)
        Images are exchangeable within a stratum: all of them for top-1, those of a class for the mean per class.
    units : ndarray of int, shape (n,)
        Units of sampling, numbered from 0: images, or clusters of them.
    """

    weights: Array
    strata: npt.NDArray[np.int64]
    units: npt.NDArray[np.int64]

    @classmethod
    def of(cls, labels: npt.NDArray[np.int64], metric: Metric, clusters: npt.NDArray[np.int64] | None = None) -> Design:
        """Return the design of a task's test images.

        A class with a single unit has no variance of its own to see. Such classes are joined into one stratum (with the
        smallest other class, where there is just one): the collapsed strata of survey sampling (Cochran 1977, 5A.12),
        which overstate the variance.
        """
        n = len(labels)
        units = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
        if metric == "top1":
            return cls(np.full(n, 1.0 / n), np.zeros(n, dtype=np.int64), units)
        classes, strata, counts = np.unique(labels, return_inverse=True, return_counts=True)
        weights = 1.0 / (len(classes) * counts[strata])
        pairs = np.unique(np.stack([strata, units]), axis=1)
        sizes = np.bincount(pairs[0], minlength=len(classes))
        small = sizes < 2
        if small.sum() == 1 and len(classes) > 1:
            small[np.argsort(np.where(small, np.iinfo(np.int64).max, sizes), kind="stable")[0]] = True
        strata = np.where(small[strata], len(classes), strata)
        return cls(weights, np.unique(strata, return_inverse=True)[1], units)

    @cached_property
    def n_units(self) -> int:
        """The number of units."""
        return int(self.units.max()) + 1

    @cached_property
    def unit_strata(self) -> npt.NDArray[np.int64]:
        """The stratum of each unit (of its first image, where a cluster reaches over several), shape (units,)."""
        return self.strata[self._first]

    @cached_property
    def unit_weights(self) -> Array:
        """The weight of each unit, shape (units,)."""
        return np.asarray(np.bincount(self.units, self.weights, self.n_units), dtype=np.float64)

    @cached_property
    def one_unit(self) -> float:
        """The mean square of a unit's weight: what one unit of outcome 1 among zeros adds to a variance."""
        return float(np.mean(self.unit_weights**2))

    def mean(self, values: npt.NDArray[np.generic]) -> Array:
        """Return the metric's mean of outcomes, shape (..., n) to (...)."""
        return np.asarray(np.matmul(values.astype(np.float64), self.weights))

    def residuals(self, values: npt.NDArray[np.generic]) -> Array:
        r"""Return what each unit adds to the deviation of a mean, shape (..., n) to (..., units).

        With the weights :math:`w_j` and the weighted mean :math:`\bar x_k` of its stratum, unit g's residual is
        :math:`\sqrt{G_k/(G_k-1)} \sum_{j \in g} w_j (x_j - \bar x_k)`, so that the sum of squares over units is the
        (stratified, ratio) variance of the mean (Cochran 1977, chapters 5 and 9A).
        """
        flat = np.asarray(values, dtype=np.float64).reshape(-1, len(self.weights))
        totals = np.bincount(self.strata, weights=self.weights)
        result = np.empty((len(flat), self.n_units))
        for row, out in zip(flat, result, strict=True):
            weighted = row * self.weights
            means = np.bincount(self.strata, weights=weighted) / totals
            left = weighted - self.weights * means[self.strata]
            out[:] = np.bincount(self.units, weights=left, minlength=self.n_units) if self._clustered else left
        counts = np.bincount(self.unit_strata, minlength=len(totals))
        factor = np.sqrt(counts / np.maximum(counts - 1, 1))
        result *= factor[self.unit_strata]
        return result.reshape(*np.shape(values)[:-1], self.n_units)

    @cached_property
    def _clustered(self) -> bool:
        return self.n_units < len(self.units)

    @cached_property
    def _first(self) -> npt.NDArray[np.int64]:
        return np.unique(self.units, return_index=True)[1]
