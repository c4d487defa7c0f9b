"""What two checkpoints agree on beyond accuracy, task by task, with intervals and how much chance alone changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..analysis import ClassChange, class_changes, cross_fitted, jensen_shannon_values, kl_values, score
from ..analysis.agreement import kappa_values
from ..analysis.calibration import Scored, ece_values
from ..analysis.intervals import Interval
from ..analysis.means import mean_interval
from ..analysis.panels import Array
from ..registry import Registry, load_tasks
from ..schema import ResultsError
from ..store import Predictions
from .pairing import Level, heads, levels_of, paired, replicates
from .populations import Populations, populations
from .predicted import Images, Read, predictions_of
from .sides import Side

OF_CLASSES = ("agreement", "forgotten", "gained", "error_consistency")
PROPORTIONS = OF_CLASSES[:3]
OF_LOGITS = ("kl", "js")
OF_ONE = ("ece", "nll", "brier")
SCALED = tuple(f"{name}_scaled" for name in OF_ONE)
VAL, TEST_HALVES = "val", "halves of test"
NO_LOGITS = "logits are missing: only predicted classes were kept"


@dataclass(frozen=True, eq=False)
class TaskMeasures:
    """Two checkpoints on one task.

    Parameters
    ----------
    task : str
        The task.
    n, pairs : int
        Test images, and pairs of runs.
    between : mapping of str to Interval
        Measures of the pair: :data:`OF_CLASSES` and, with logits, :data:`OF_LOGITS`. ``forgotten`` and ``gained`` are
        fractions of the images.
    first, second, difference : mapping of str to Interval
        Measures of each checkpoint, and the first's minus the second's: :data:`OF_ONE`, and the same after temperature
        scaling (:data:`SCALED`). Empty where logits are missing.
    noise : mapping of str to mapping of str to float
        By source (``heads_a``, ``heads_b``, ``replicates_a``, ``replicates_b``): the same measures between two runs
        of one checkpoint; for :data:`OF_ONE` the mean absolute difference. A source that isn't there is left out.
    temperatures : tuple of float
        Of both checkpoints: geometric means over runs and images.
    fitted_on : tuple of str
        What temperatures were fitted on: :data:`VAL`, :data:`TEST_HALVES`, or both where runs differ.
    scores : tuple of list of Scored
        Of both checkpoints, run by run, for reliability diagrams.
    scaled : tuple of list of Scored
        The same after temperature scaling.
    classes : list of ClassChange
        What changes by class.
    populations : Populations
        Both checkpoints as populations of networks: exemplars, class impact, confusion.
    """

    task: str
    n: int
    pairs: int
    between: dict[str, Interval]
    first: dict[str, Interval]
    second: dict[str, Interval]
    difference: dict[str, Interval]
    noise: dict[str, dict[str, float]]
    temperatures: tuple[float, float]
    fitted_on: tuple[str, ...]
    scores: tuple[list[Scored], list[Scored]]
    scaled: tuple[list[Scored], list[Scored]]
    classes: list[ClassChange]
    populations: Populations

    @property
    def has_logits(self) -> bool:
        """Whether measures that need logits are there."""
        return bool(self.first)


@dataclass
class _One:
    """The runs of one side on a task, as far as they have been read."""

    wrong: list[np.ndarray] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    scores: list[Scored] = field(default_factory=list)
    scaled: list[Scored] = field(default_factory=list)
    temperatures: list[float] = field(default_factory=list)
    fitted_on: set[str] = field(default_factory=set)

    def add(self, kept: Predictions, images: Images) -> None:
        self.predicted.append(kept.predicted)
        self.wrong.append(kept.predicted != images.labels)
        if kept.logits is not None:
            if kept.temperature is None:
                fitted = cross_fitted(kept.logits, images.labels, images.second)
            else:
                fitted = np.full(1, kept.temperature)
            self.fitted_on.add(TEST_HALVES if kept.temperature is None else VAL)
            self.temperatures.append(float(np.log(fitted).mean()))
            self.scores.append(score(kept.logits, images.labels))
            self.scaled.append(score(kept.logits, images.labels, fitted))

    def values(self, name: str) -> Array:
        """Return a measure of one checkpoint by run and image."""
        scores = self.scaled if name in SCALED else self.scores
        return np.stack([_of_one(own)[name.removesuffix("_scaled")] for own in scores])

    @property
    def temperature(self) -> float:
        return math.exp(np.mean(self.temperatures)) if self.temperatures else math.nan


def measures(first: Side, second: Side, registry: Registry | None = None, logits: bool = True) -> list[TaskMeasures]:
    """Return what two checkpoints agree on, by task.

    Runs are read one pair at a time, and logits stay in half precision: of 60,000 images and 1,000 classes the peak is
    0.5 GB for one pair of runs.

    Parameters
    ----------
    first, second : Side
        Each of one checkpoint; see :func:`sparsebench.report.sides.read_sides`.
    registry : Registry, optional
        The tasks, which declare what images come from one source.
    logits : bool
        Whether to read logits, where they were kept, and to look at single classes.

    Raises
    ------
    ResultsError
        If a side is several checkpoints, or predictions are missing, damaged or of different images.
    """
    for side in (first, second):
        if len(side.entries) > 1:
            raise ResultsError(
                f"{side.text} is {len(side.entries)} checkpoints: {', '.join(side.entries[:5])}", "name one of them"
            )
    registry = load_tasks() if registry is None else registry
    reads = [predictions_of(side.results, set(side.runs["record_key"].dropna())) for side in (first, second)]
    tasks = sorted(set(first.runs["task"]) & set(second.runs["task"]))
    found = []
    for task in tasks:
        levels = [levels_of(side.runs[side.runs["task"] == task]) for side in (first, second)]
        found.append(task_measures(task, levels, reads, registry, logits))
    return found


class _Reader:
    """Reads the predictions of one task in the first run's order of images; the last two are kept."""

    def __init__(self, task: str, reads: Sequence[Read], first: str, registry: Registry, logits: bool) -> None:
        self._reads, self._logits = reads, logits
        kept = reads[0](first)
        self.images = Images.of(task, kept, registry)
        self._last = {(0, first): kept if logits else kept.without_logits()}

    def __call__(self, side: int, key: str) -> Predictions:
        if (side, key) not in self._last:
            kept = self._reads[side](key)
            kept = self.images.ordered(kept if self._logits else kept.without_logits(), key)
            self._last = dict([*self._last.items(), ((side, key), kept)][-2:])
        return self._last[side, key]


def task_measures(
    task: str, levels: Sequence[dict[Level, str]], reads: Sequence[Read], registry: Registry, logits: bool = True
) -> TaskMeasures:
    """Return what two checkpoints agree on in one task, given the keys of their runs by replicate and seed.

    Parameters
    ----------
    task : str
        The task.
    levels, reads : sequence
        Of both checkpoints: keys of the runs (see :func:`.pairing.levels_of`), and what reads their predictions.
    registry : Registry
        The tasks.
    logits : bool
        Whether to use logits, where they were kept by all runs, and to look at single classes.
    """
    pairs = paired(*levels)
    read = _Reader(task, reads, pairs[0][1], registry, logits)
    sides = (_One(), _One())
    rows: dict[str, list[Array]] = {}
    for _, *keys in pairs:
        runs = [read(side, key) for side, key in enumerate(keys)]
        for side, run in zip(sides, runs, strict=True):
            side.add(run, read.images)
        for name, values in _between(runs[0], runs[1], read.images).items():
            rows.setdefault(name, []).append(values)
    images, own = read.images, [level for level, *_ in pairs]

    def over(values: Array, name: str = "") -> Interval:
        return mean_interval(values, own, images.clusters, proportion=name in PROPORTIONS)

    singles = (*OF_ONE, *SCALED) if all(len(side.scores) == len(pairs) for side in sides) else ()
    alone = [{name: side.values(name) for name in singles} for side in sides]
    return TaskMeasures(
        task=task,
        n=len(images.ids),
        pairs=len(pairs),
        between={name: over(np.stack(found), name) for name, found in rows.items() if len(found) == len(pairs)},
        first={name: over(found) for name, found in alone[0].items()},
        second={name: over(found) for name, found in alone[1].items()},
        difference={name: over(alone[0][name] - alone[1][name]) for name in singles},
        noise=_noise(levels, read),
        temperatures=(sides[0].temperature, sides[1].temperature),
        fitted_on=tuple(sorted(sides[0].fitted_on | sides[1].fitted_on)),
        scores=(sides[0].scores, sides[1].scores),
        scaled=(sides[0].scaled, sides[1].scaled),
        classes=_classes(sides, images) if logits else [],
        populations=_populations(sides, levels, images),
    )


def _classes(sides: tuple[_One, _One], images: Images) -> list[ClassChange]:
    return class_changes(np.stack(sides[0].wrong), np.stack(sides[1].wrong), images.labels, images.clusters)


def _between(one: Predictions, other: Predictions, images: Images) -> dict[str, Array]:
    """Return the measures of a pair of runs by image."""
    right = [run.predicted == images.labels for run in (one, other)]
    values = {
        "agreement": (one.predicted == other.predicted).astype(np.float64),
        "forgotten": (~right[0] & right[1]).astype(np.float64),
        "gained": (right[0] & ~right[1]).astype(np.float64),
        "error_consistency": kappa_values(*right),
    }
    if one.logits is not None and other.logits is not None:
        if one.logits.shape != other.logits.shape:
            raise ResultsError(f"the runs on {images.task} have different numbers of classes", "run their cells again")
        values["kl"] = kl_values(one.logits, other.logits)
        values["js"] = jensen_shannon_values(one.logits, other.logits)
    return values


def _of_one(own: Scored) -> dict[str, Array]:
    return {"ece": ece_values(own), "nll": own.nll, "brier": own.brier}


def _noise(levels: Sequence[dict[Level, str]], read: _Reader) -> dict[str, dict[str, float]]:
    """Return by source the measures between two runs of one checkpoint."""
    found: dict[str, dict[str, float]] = {}
    for side, letter in enumerate("ab"):
        for kind, choose in (("heads", heads), ("replicates", replicates)):
            rows: dict[str, list[float]] = {}
            for keys in choose(levels[side]):
                one, other = (read(side, key) for key in keys)
                for name, value in _chance(one, other, read.images).items():
                    rows.setdefault(name, []).append(value)
            if rows:
                found[f"{kind}_{letter}"] = {name: float(np.mean(values)) for name, values in rows.items()}
    return found


def _chance(one: Predictions, other: Predictions, images: Images) -> dict[str, float]:
    values = {name: float(np.mean(found)) for name, found in _between(one, other, images).items()}
    if one.logits is not None and other.logits is not None:
        own, theirs = (_of_one(score(run.logits, images.labels)) for run in (one, other) if run.logits is not None)
        values |= {name: abs(float(own[name].mean() - theirs[name].mean())) for name in OF_ONE}
    return values


def _populations(sides: tuple[_One, _One], levels: Sequence[dict[Level, str]], images: Images) -> Populations:
    pairs = paired(*levels)
    keys = [[key for _, *both in pairs for key in both[side : side + 1]] for side in (0, 1)]
    own = [
        [level for key in chosen for level, k in of.items() if k == key]
        for chosen, of in zip(keys, levels, strict=True)
    ]
    first, second = (np.stack(side.predicted) for side in sides)
    return populations(first, second, own, images.ids, images.labels)
