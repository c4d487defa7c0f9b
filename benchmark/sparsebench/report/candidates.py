"""What could be recommended: checkpoints by how they were trained on, with accuracy, its interval, speed and size."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import extensions
from ..analysis import Interval, accuracies, align, build_panels, components, interval
from ..analysis.intervals import IMAGES, SEEDS, half_width
from ..analysis.metrics import Sample
from ..registry import load_tasks
from ..schema import InputError, ResultsError
from ..store import read_results
from ..store.classes import classes_reader
from .contents import by_content, transfer_only
from .sides import finished, once_per_seed
from .ways import WAY

if TYPE_CHECKING:
    import pandas as pd

    from ..analysis import Panel

NAN = math.nan


@dataclass(frozen=True)
class Speed:
    """Milliseconds per image (median and quartiles) of the fastest engine that was measured, and how."""

    engine: str
    ms: float
    low: float
    high: float
    batch: int
    threads: str
    processor: str


@dataclass(frozen=True)
class Candidate:
    """A checkpoint in one way of transferring it.

    Parameters
    ----------
    checkpoint, how : str
        Its id, and mode, probe and protocol.
    sparsity : float
        Nominal.
    accuracy : Interval
        Mean over the tasks, a fraction, with its 95 % interval.
    behind : Interval, optional
        Its accuracy minus that of the most accurate candidate within the limits, with an interval that holds for all
        candidates at once.
    speed : Speed, optional
        As it was measured; None where it wasn't.
    megabytes : float, optional
        Of the packed backbone; None where it isn't known.
    unmet : tuple of str
        The limits that it misses.
    tied : bool
        Whether it can't be told apart from the most accurate one.
    close : bool
        Whether it is within one standard error of that one.
    front : bool
        Whether no other candidate is at least as accurate and as cheap, and better in one of the two.
    """

    checkpoint: str
    how: str
    sparsity: float
    accuracy: Interval
    behind: Interval | None = None
    speed: Speed | None = None
    megabytes: float | None = None
    unmet: tuple[str, ...] = ()
    tied: bool = False
    close: bool = False
    front: bool = False

    @property
    def name(self) -> str:
        """Its id and how it was transferred."""
        return f"{self.checkpoint} ({self.how})"

    @property
    def cost(self) -> tuple[float, float]:
        """What is to be small: milliseconds per image, then megabytes; unknown ones are infinite."""
        ms = math.inf if self.speed is None else self.speed.ms
        return ms, math.inf if self.megabytes is None else self.megabytes


@dataclass(frozen=True)
class Cell:
    """Accuracies over seeds on one task; how many test images, and whether a seed changes anything."""

    sample: Sample
    n_test: int
    seeded: bool


@dataclass(frozen=True, eq=False)
class Evidence:
    """The candidates' accuracies with what their differences need.

    Parameters
    ----------
    names : tuple of (checkpoint, how)
        The candidates.
    tasks : tuple of str
        What they ran.
    sparsities : dict
        By candidate.
    left_out : tuple of str
        Candidates that lack some task.
    """

    names: tuple[tuple[str, str], ...]
    tasks: tuple[str, ...]
    sparsities: dict[tuple[str, str], float]
    left_out: tuple[str, ...]
    _panels: tuple[Panel, ...]
    _cells: dict[tuple[str, str], dict[str, Cell]]

    @property
    def paired(self) -> bool:
        """Whether candidates are compared image by image."""
        return bool(self._panels)

    def intervals(self, best: int | None = None, confidence: float = 0.95) -> list[Interval]:
        """Return each candidate's accuracy; with ``best``, that minus the accuracy of that candidate."""
        count = len(self.names)
        rows = np.eye(count) if best is None else np.eye(count) - np.eye(count)[best]
        if self._panels:
            parts = components(accuracies(self._panels, [" ".join(name) for name in self.names]))
            return [interval(parts, row, confidence) if row.any() else _nothing() for row in rows]
        return [self._unpaired(row, 1.0 - confidence) if row.any() else _nothing() for row in rows]

    def _unpaired(self, weights: np.ndarray, level: float) -> Interval:
        """Return the interval of a combination of accuracies where predictions weren't kept.

        Seeds contribute what they differ by. Test images contribute as if all candidates erred independently, by the
        binomial variance, which is too much rather than too little where they err on the same images.
        """
        parts: list[tuple[float, float]] = []
        value, seeds, images = 0.0, True, True
        for weight, name in zip(weights, self.names, strict=True):
            for task in self.tasks if weight else ():
                cell, share = self._cells[name][task], weight / len(self.tasks)
                value += share * cell.sample.mean
                if cell.n_test:
                    parts.append((share**2 * cell.sample.mean * (1.0 - cell.sample.mean) / cell.n_test, math.inf))
                if cell.seeded and cell.sample.n > 1:
                    parts.append((share**2 * cell.sample.sd**2 / cell.sample.n, cell.sample.n - 1.0))
                images, seeds = images and bool(cell.n_test), seeds and not (cell.seeded and cell.sample.n < 2)
        scope = (*((SEEDS,) if seeds else ()), *((IMAGES,) if images else ()))
        used = tuple((variance, df) for variance, df in parts if variance > 0)
        if not scope or not used:
            return Interval(value, NAN, NAN, ())
        half = half_width(used, level)
        return Interval(value, value - half, value + half, scope, used)


def _nothing() -> Interval:
    return Interval(0.0, 0.0, 0.0, ())


def read_candidates(
    results: Path | str, tasks: Collection[str] = (), how: Mapping[str, Collection[str]] | None = None
) -> Evidence:
    """Read what was run, and keep the candidates that ran all of the tasks.

    Parameters
    ----------
    results : path or str
        A results folder, a tidy CSV file, or ``published``.
    tasks : collection of str
        Ids or patterns; all that there are where it is empty.
    how : mapping, optional
        The modes, probes or protocols to look at, by column.

    Raises
    ------
    ResultsError
        If there is nothing of the kind.
    """
    runs = transfer_only(finished(by_content(read_results(results), load_tasks())))
    if tasks:
        runs = runs[[any(fnmatchcase(task, pattern) for pattern in tasks) for task in runs["task"]]]
    for column, values in (how or {}).items():
        if values:
            runs = runs[runs[column].isin(list(values))]
    if runs.empty:
        raise ResultsError(f"{str(results)!r} has no finished run of this kind", "see `sparsebench status`")
    runs = runs.assign(how=runs[list(WAY)].astype(str).agg(" ".join, axis=1).str.replace("  ", " "))
    wanted = tuple(sorted(set(runs["task"])))
    ran = runs.groupby(["entry", "how"])["task"].nunique().reset_index()
    counted = [(str(entry), str(way), count) for entry, way, count in ran.itertuples(index=False, name=None)]
    names = tuple((entry, way) for entry, way, count in counted if count == len(wanted))
    left_out = tuple(f"{entry} ({way})" for entry, way, count in counted if count < len(wanted))
    if not names:
        raise ResultsError(f"no checkpoint ran all of {', '.join(wanted)}", "choose tasks with --task")
    kept = [once_per_seed(runs[(runs["entry"] == entry) & (runs["how"] == way)]) for entry, way in names]
    return _evidence(kept, names, wanted, left_out, results)


def _evidence(
    kept: Sequence[pd.DataFrame],
    names: tuple[tuple[str, str], ...],
    tasks: tuple[str, ...],
    left_out: tuple[str, ...],
    results: Path | str,
) -> Evidence:
    import pandas as pd

    runs = pd.concat(kept, ignore_index=True)
    for column, what in (("split_sha256", "splits"), ("metric", "metrics")):
        for task, own in runs.groupby("task"):
            if len(set(own[column]) - {""}) > 1:
                raise InputError(f"the runs on {task} were scored on different {what}", "leave it out with --task")
    runs = runs.assign(model=runs["entry"] + " " + runs["how"])
    of_task = dict(zip(runs["record_key"], runs["task"], strict=True))
    read = dict(classes_reader(results)([key for key in of_task if isinstance(key, str)]))
    panels: tuple[Panel, ...] = ()
    if len(read) == len(runs):
        panels = build_panels(runs, align((of_task[key], key, own) for key, own in read.items()))
    cells: dict[tuple[str, str], dict[str, Cell]] = {}
    sparsity: dict[tuple[str, str], float] = {}
    for name, own in zip(names, kept, strict=True):
        cells[name] = {str(task): _cell(rows) for task, rows in own.groupby("task")}
        sparsity[name] = float(own["sparsity"].iloc[0])
    return Evidence(names, tasks, sparsity, left_out, panels, cells)


def _cell(rows: pd.DataFrame) -> Cell:
    first = rows.iloc[0]
    n_test = first["n_test"]
    probe = extensions.find("probes", first["probe"]) if first["mode"] == "linear" else None
    seeded = probe is None or probe.seeded
    known = 0 if n_test != n_test or str(n_test) == "<NA>" else int(n_test)
    return Cell(Sample.of(rows["accuracy"].tolist()), known, seeded)


def speeds(bench: pd.DataFrame, device: str, engine: str | None) -> dict[str, Speed]:
    """Return the fastest engine of each checkpoint in a table of measurements, on one device."""
    own = bench[bench["device"] == device]
    if engine is not None:
        own = own[own["engine"] == engine]
    found: dict[str, Speed] = {}
    for row in own.sort_values("images_per_second").to_dict("records"):  # the fastest of a checkpoint comes last
        batch = int(row["batch"])
        ms, low, high = (float(row[name]) / batch for name in ("ms", "ms_low", "ms_high"))
        found[str(row["checkpoint"])] = Speed(
            str(row["engine"]), ms, low, high, batch, str(row["threads"]), str(row["processor"])
        )
    return found


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates with those marked that no other one is better than in accuracy and cost (Pareto)."""

    def beaten(one: Candidate) -> bool:
        mine: Any = (-one.accuracy.value, *one.cost)
        return any(
            all(a <= b for a, b in zip(theirs, mine, strict=True)) and theirs != mine
            for theirs in ((-other.accuracy.value, *other.cost) for other in candidates)
        )

    return [replace(one, front=not beaten(one)) for one in candidates]


__all__ = ["Candidate", "Evidence", "Speed", "front", "read_candidates", "speeds"]
