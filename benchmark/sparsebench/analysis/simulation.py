r"""Synthetic outcomes with known truth, to check what intervals, verdicts and ranks promise.

A model m (replicate i, seed s) gets image j of task t wrong where

.. math:: z_{mt} + \kappa_{c(j)} + \delta_{mi} + \alpha_{mtis} + b_j + g_{mj} + h_{mij} + \epsilon_{misj} > 0,

with the class of the image :math:`c(j)` and normal shifts of the replicate, :math:`\delta`, and of the seed,
:math:`\alpha`. The other four are normal over images and have unit variance together: what all models share, what is
the model's own, its replicate's and its seed's. So errors are correlated between models, and the expected error is
exact: :math:`\Phi((z + \kappa_c)/\sqrt{1 + \sigma_\delta^2 + \sigma_\alpha^2})`. Where several images come from one
source, half the variance of each of the four is the source's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from ..schema import Metric
from .panels import Array, Panel, Wrong

_SHARES = (0.6, 0.15, 0.1, 0.15)
"""Variance over images: shared by all models, by a model's runs, by a replicate's runs, by none."""


@dataclass(frozen=True)
class Shape:
    """What a set of synthetic records looks like.

    Parameters
    ----------
    images, tasks, seeds, replicates : int
        Their numbers.
    classes : int
        With 2 the metric is top-1. With more it is the mean per class: classes differ in size and difficulty.
    error : float
        Expected error of the first model, about, between tasks.
    gaps : tuple of float
        Shift z of every model, the first one's (the reference) being 0; equal shifts mean equal errors.
    seed_sd, replicate_sd : float
        Of the shifts; 0.05 is about one point of accuracy at an error of 20 %.
    cluster : int
        Images of one source, on average: sources are of one half, one, and three halves of that size by turns. Half of
        the variance over images is between sources.
    paired : bool
        Whether all models have the same seeds. Else each has its own, so that they are paired by image alone.
    """

    images: int = 500
    tasks: int = 6
    seeds: int = 3
    replicates: int = 1
    classes: int = 2
    error: float = 0.2
    gaps: tuple[float, ...] = (0.0, 0.0)
    seed_sd: float = 0.05
    replicate_sd: float = 0.05
    cluster: int = 1
    paired: bool = True

    @property
    def name(self) -> str:
        """The shape as a short text, which resuming goes by."""
        gaps = "/".join(f"{gap:g}" for gap in self.gaps)
        name = (
            f"n{self.images}-t{self.tasks}-s{self.seeds}-r{self.replicates}-c{self.classes}-e{self.error:g}"
            f"-g{gaps}-a{self.seed_sd:g}-d{self.replicate_sd:g}"
        )
        return name + (f"-k{self.cluster}" if self.cluster > 1 else "") + ("" if self.paired else "-u")


@dataclass(frozen=True, eq=False)
class Drawn:
    """A synthetic data set.

    Parameters
    ----------
    panels : tuple of Panel
        Its tasks; the models are called ``0``, ``1``, ...
    truth : ndarray, shape (models, tasks)
        Expected errors over all that was drawn and has several levels. With a single seed or replicate the error is
        that of this seed, or this replicate, over images: what an interval without them in its scope is about.
    """

    panels: tuple[Panel, ...]
    truth: Array

    @property
    def relative(self) -> Array:
        """The true mean relative error increase of every model against the first, shape (models,)."""
        return np.asarray((self.truth / self.truth[0] - 1.0).mean(axis=1))


def draw(shape: Shape, rng: np.random.Generator) -> Drawn:
    """Return a synthetic data set of a shape."""
    models = len(shape.gaps)
    shifts = _normal(rng, shape.replicate_sd, models, shape.replicates)
    panels, truth = [], np.empty((models, shape.tasks))
    sources = _sources(shape)
    for task in range(shape.tasks):
        # tasks differ in difficulty, always by the same amounts
        z = ndtri(shape.error) + 0.3 * np.cos(2.0 * task)
        labels, hardness = _classes(shape, task)
        alpha = _normal(rng, shape.seed_sd, models, shape.replicates, shape.seeds)
        common = _by_image(rng, _SHARES[0], shape, sources)
        wrong = {}
        for m, gap in enumerate(shape.gaps):
            own = common + _by_image(rng, _SHARES[1], shape, sources)
            per_replicate = own + _by_image(rng, _SHARES[2], shape, sources, shape.replicates, 1)
            each = per_replicate + _by_image(rng, _SHARES[3], shape, sources, shape.replicates, shape.seeds)
            level = (z + gap + shifts[m, :, None] + alpha[m])[..., None]
            values = each + level.astype(np.float32) + hardness[labels].astype(np.float32) > 0
            wrong[str(m)] = Wrong(values.reshape(-1, shape.images), _levels(shape, m))
            truth[m, task] = _expected(shape, z + gap, hardness, shifts[m], alpha[m])
        metric: Metric = "top1" if shape.classes == 2 else "mean_per_class"
        panels.append(Panel(f"task{task}", labels, wrong, metric, sources))
    return Drawn(tuple(panels), truth)


def _levels(shape: Shape, model: int) -> tuple[tuple[int, int], ...]:
    """Return the replicates and seeds of a model's runs."""
    first = 0 if shape.paired else model * shape.seeds
    return tuple((i, first + s) for i in range(shape.replicates) for s in range(shape.seeds))


def _normal(rng: np.random.Generator, sd: float, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(sd)


def _by_image(
    rng: np.random.Generator, variance: float, shape: Shape, sources: npt.NDArray[np.int64] | None, *levels: int
) -> np.ndarray:
    """Return normal values per image, shape (..., images); half of the variance is their source's, if any."""
    if sources is None:
        return _normal(rng, variance**0.5, *levels, shape.images)
    half = (variance / 2.0) ** 0.5
    shared = _normal(rng, half, *levels, int(sources[-1]) + 1)[..., sources]
    return np.asarray(shared + _normal(rng, half, *levels, shape.images))


def _sources(shape: Shape) -> npt.NDArray[np.int64] | None:
    """Return the source of each image."""
    if shape.cluster < 2:
        return None
    sizes = [max(shape.cluster * part // 2, 1) for part in (2, 1, 3)] * shape.images
    return np.repeat(np.arange(len(sizes)), sizes)[: shape.images]


def _classes(shape: Shape, task: int) -> tuple[np.ndarray, Array]:
    """Return the labels of the images and the difficulty of the classes."""
    k = shape.classes
    if k == 2:
        return np.arange(shape.images) % 2, np.zeros(2)
    sizes = 1.0 + (np.arange(k) + task) % 3  # the largest class is three times the smallest
    bounds = np.round(np.cumsum(sizes) / sizes.sum() * shape.images).astype(np.int64)
    return np.searchsorted(bounds, np.arange(shape.images), side="right"), 0.4 * np.sin(np.arange(k) + task)


def _expected(shape: Shape, z: float, hardness: Array, shifts: Array, alpha: Array) -> float:
    """Return a model's true error on a task, given the single replicate or seed where there is one."""
    variance, centre = 1.0, np.zeros(1)
    if shape.replicates > 1:
        variance += shape.replicate_sd**2 + shape.seed_sd**2  # a replicate's runs differ in seed, too
    else:
        centre = shifts.astype(np.float64)
        if shape.seeds > 1:
            variance += shape.seed_sd**2
        else:
            centre = centre + alpha.ravel()
    return float(np.mean(ndtr((z + hardness + centre[0]) / np.sqrt(variance))))
