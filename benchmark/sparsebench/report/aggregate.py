"""Runs to cells (mean and spread over seeds), and cells to one line per checkpoint: means, relative error, ranks.

Only like is averaged with like: a *group* is what shares suite, architecture, mode, probe and protocol. Failed runs are
counted but not averaged. Runs in mode ``upstream`` aren't transfer: :mod:`.own_task` has them. Checkpoints, tasks and
protocols are distinguished by content (:mod:`.contents`); a suite is looked up in the registry. Where runs of a group
were computed in several ways (device, precision, engine, threads), each seed of a cell counts once, computed in the
group's commonest way where there is one, and a cell that mixes ways says so. Replicates of one upstream training are
one entry, whose name is that of replicate 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..analysis.metrics import Sample, mean
from ..registry import load_tasks
from ..schema import MODES, UNDERFIT, VERDICTS
from .contents import LABELS, by_content, joined, transfer_only
from .intervals import INTERVAL_COLUMNS, Entry, Kept, Run, group_intervals, sample_of

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Registry
    from ..store.classes import Reader

GROUP: tuple[str, ...] = ("suite", "arch", "mode", "probe", "protocol")
"""Columns of a group; a checkpoint is a line in each group that it ran in."""

CELL_COLUMNS: tuple[str, ...] = (*GROUP, "checkpoint", "task", "metric", "mean", "sd", "n", "n_failed")

SUMMARY_COLUMNS: tuple[str, ...] = (
    *GROUP,
    "checkpoint",
    *LABELS,
    "replicates",
    "mean_accuracy",
    *INTERVAL_COLUMNS,
    "tasks_better",
    "average_rank",
    "n_tasks",
    "group_tasks",
    "seeds_min",
    "seeds_max",
    "n_failed",
    "complete",
    "missing",
    "underfit",
    "reference_ran",
    "verdict",
    "note",
)

Key = tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """An entry on a task in a group: its accuracy over seeds, and the fingerprints it is comparable under.

    ``runs`` are the finished ones, and ``ways`` names the numerics that they were computed with.
    It is ``underfit`` where the linear head of one of its seeds is (see :class:`sparsebench.schema.Convergence`).
    """

    accuracy: Sample
    runs: tuple[Run, ...]
    n_test: int | None
    metric: str
    n_failed: int
    split: str
    protocol: str
    ways: tuple[str, ...] = ()
    underfit: bool = False


@dataclass(frozen=True)
class Aggregate:
    """Statistics of a results table.

    Parameters
    ----------
    cells : DataFrame
        :data:`CELL_COLUMNS`, one row per group, checkpoint and task.
    summary : DataFrame
        :data:`SUMMARY_COLUMNS`, one row per group and checkpoint, best first within a group.
    """

    cells: pd.DataFrame
    summary: pd.DataFrame

    def groups(self) -> Iterator[tuple[dict[str, str], Aggregate]]:
        """Yield each group's key by column (empty text for none) and the part of the statistics that is its own."""
        for key, rows in self.summary.groupby(list(GROUP), sort=False):
            values = {name: str(value) for name, value in zip(GROUP, key, strict=True)}
            mask = (self.cells[list(GROUP)] == list(key)).all(axis=1)
            yield values, Aggregate(self.cells[mask].reset_index(drop=True), rows.reset_index(drop=True))

    @property
    def tasks(self) -> list[str]:
        """The tasks, sorted."""
        return sorted(set(self.cells["task"]))

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The rows of the summary, as dicts."""
        return [{str(k): v for k, v in line.items()} for line in self.summary.to_dict("records")]

    @property
    def per_class_tasks(self) -> list[str]:
        """The tasks whose accuracy is the mean per class, sorted."""
        return sorted(set(self.cells.loc[self.cells["metric"] == "mean_per_class", "task"]))

    def cell(self, checkpoint: str, task: str) -> Sample | None:
        """Return the accuracy of a cell; for statistics of one group only."""
        return self._samples.get((checkpoint, task))

    @cached_property
    def _samples(self) -> dict[tuple[str, str], Sample]:
        columns = (self.cells[name].tolist() for name in ("checkpoint", "task", "mean", "sd", "n"))
        return {(c, t): Sample(m, s, n) for c, t, m, s, n in zip(*columns, strict=True) if n}


def aggregate(frame: pd.DataFrame, registry: Registry | None = None, predictions: Reader | None = None) -> Aggregate:
    """Return the statistics of a tidy results table; the order of its rows doesn't matter.

    Names are made to agree with contents first (:func:`.contents.by_content`); suites are those of the ``registry``, by
    default the built-in one.

    The reference of a checkpoint is looked up by its id among all runs of the same task, mode, probe and protocol,
    whatever its architecture or suite, and compared on tasks with the same split and hyperparameters. A dense
    checkpoint without a reference (and no twin) is its own: its relative error is 0 by definition. A replicate is
    compared with the reference that its own checkpoint names.

    ``scope`` is what the interval of the relative error covers; with ``predictions``
    (:func:`sparsebench.store.classes.classes_reader`) that is test images, too. ``rank_low`` and ``rank_high`` bound
    the entry's rank among the ``ranked`` complete entries of the group whose intervals have the same scope: with 95 %
    confidence all true ranks lie within their bounds. ``average_rank`` is the mean over tasks of the rank of the mean
    accuracy, ties sharing their mean rank. ``tasks_better`` counts the tasks where the mean accuracy is above the
    reference's.
    """
    registry = registry or load_tasks()
    return statistics_of(by_content(frame, registry), kept_of(registry, predictions))


def kept_of(registry: Registry, predictions: Reader | None) -> Kept:
    """Return predicted classes, with the clusters of test images that the registry's tasks declare."""
    return Kept(predictions, {task.id: task.clusters for task in registry.tasks.values() if task.clusters is not None})


def statistics_of(runs: pd.DataFrame, kept: Kept | None = None) -> Aggregate:
    """Return the statistics of runs whose names agree with their contents; see :func:`aggregate`."""
    import pandas as pd

    runs = transfer_only(runs).copy()
    runs[list(GROUP)] = runs[list(GROUP)].astype("string").fillna("")
    runs = counted_once(runs)
    runs["entry"] = entries_of(runs)
    table = _cells(runs)
    labels = {_key(key): _labels(rows) for key, rows in runs.groupby([*GROUP, "entry"], sort=True)}
    references = _References(runs, table)
    lines: list[dict[str, Any]] = []
    for group in sorted({key[:-1] for key in labels}, key=lambda g: (g[:2], mode_order(g[2]), g[3:])):
        members = [key for key in labels if key[:-1] == group]
        tasks = sorted({task for key in members for task in table[key]})
        compared = [references.compared(key, labels[key], table[key], tasks) for key in members]
        found = group_intervals(compared, kept or Kept())
        own = [_line(key, labels[key], tasks, table[key], found[key[-1]]) for key in members]
        for line, entry in zip(own, compared, strict=True):
            line["reference_ran"] = bool(entry.own)
            line["tasks_better"] = _better(entry)
        _average_rank(own, {key[-1]: table[key] for key in members}, tasks)
        for line in own:
            line["note"] = _note(line, table[(*group, line["checkpoint"])])
        lines += sorted(own, key=_best_first)
    cells = [_cell_row(key, task, cell) for key in sorted(table) for task, cell in sorted(table[key].items())]
    summary = pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS))
    return Aggregate(pd.DataFrame(cells, columns=list(CELL_COLUMNS)), summary)


def entries_of(runs: pd.DataFrame) -> list[str]:
    """Return each run's entry: its checkpoint, without the ending of its replicate."""
    numbers = runs["replicate"].fillna(0)
    return [
        name.removesuffix(f"_r{number}") if number else name
        for name, number in zip(runs["checkpoint"].astype(str), numbers, strict=True)
    ]


_NUMERICS = ("device", "precision", "engine", "threads", "numerics")


def counted_once(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each seed of a cell once: a finished run before a failed one, then the commonest numerics."""
    if runs.empty:
        return runs.assign(way="")
    runs = runs.assign(way=joined(runs, _NUMERICS, "/"), _failed=runs["status"] != "ok")
    runs["_common"] = runs.groupby([*GROUP, "way"], sort=False)["way"].transform("size")
    order = runs.sort_values(
        ["_failed", "_common", "way", "run_id"], ascending=[True, False, True, True], kind="stable"
    )
    known = order["seed"].notna() & order["run_id"].notna()
    twice = known & order.duplicated([*GROUP, "checkpoint", "task", "seed"], keep="first")
    return order[~twice].sort_index().drop(columns=["_failed", "_common"])


def _cells(runs: pd.DataFrame) -> dict[Key, dict[str, Cell]]:
    """Return the cells by group and entry, then task."""
    table: dict[Key, dict[str, Cell]] = {}
    for key, rows in runs.groupby([*GROUP, "entry", "task"], sort=True):
        done = rows[(rows["status"] == "ok") & rows["accuracy"].notna()]
        first = rows.iloc[0]
        *line, task = _key(key)
        finished = _runs(done)
        sizes = done["n_test"].dropna()
        table.setdefault(tuple(line), {})[task] = Cell(
            sample_of(finished),
            finished,
            int(sizes.iloc[0]) if len(sizes) else None,
            _text(first["metric"]),
            len(rows) - len(done),
            _text(first["split_sha256"]),
            _text(first["protocol_sha256"]),
            tuple(sorted(set(done["way"]))),
            bool((done["relative_gap"] > UNDERFIT).any()),
        )
    return table


def _runs(rows: pd.DataFrame) -> tuple[Run, ...]:
    """Return finished runs, sorted by replicate and seed."""
    numbers = (_integers(rows[name]) for name in ("replicate", "seed"))
    keys = [_text(value) or None for value in rows["record_key"].tolist()]
    columns = zip(rows["checkpoint"].astype(str), *numbers, keys, rows["accuracy"].astype(float), strict=True)
    found = [Run(name, replicate or 0, seed, key, value) for name, replicate, seed, key, value in columns]
    return tuple(sorted(found, key=lambda r: (r.replicate, -1 if r.seed is None else r.seed, r.checkpoint, r.accuracy)))


def _integers(series: pd.Series) -> list[int | None]:
    return [None if missing else int(value) for value, missing in zip(series.tolist(), series.isna(), strict=True)]


def _labels(rows: pd.DataFrame) -> dict[str, Any]:
    """Return what is known about a checkpoint: of each column the value that its latest run knows.

    ``verdict`` is the least that is known of any of its finished runs that are from bundles.
    """
    latest = rows.sort_values(["started", "run_id"], na_position="first")
    verdicts = rows.loc[rows["status"] == "ok", "verdict"].dropna() if "verdict" in rows else ()
    values: dict[str, Any] = {"verdict": min(verdicts, key=VERDICTS.index, default="")}
    for name in LABELS:
        known = latest[name].dropna()
        values[name] = known.iloc[-1] if len(known) else (math.nan if name in _NUMBERS else "")
    return values


_NUMBERS = ("sparsity", "sparsity_measured", "upstream_top1")


def _line(
    key: Key, labels: dict[str, Any], tasks: list[str], cells: dict[str, Cell], found: dict[str, Any]
) -> dict[str, Any]:
    """Return an entry's summary, without its average rank and note."""
    done = {task: cell for task, cell in cells.items() if cell.accuracy.n}
    counts = [n for cell in done.values() for n in _seeds(cell)] or [0]
    missing = [task for task in tasks if task not in done]
    line = dict(zip((*GROUP, "checkpoint"), key, strict=True)) | labels | found
    return line | {
        "replicates": " ".join(map(str, sorted({run.replicate for cell in done.values() for run in cell.runs}))),
        "mean_accuracy": mean(cell.accuracy.mean for cell in done.values()),
        "n_tasks": len(done),
        "group_tasks": len(tasks),
        "seeds_min": min(counts),
        "seeds_max": max(counts),
        "n_failed": sum(cell.n_failed for cell in cells.values()),
        "complete": not missing,
        "missing": " ".join(missing),
        "underfit": " ".join(task for task, cell in done.items() if cell.underfit),
        "average_rank": math.nan,
    }


def _seeds(cell: Cell) -> list[int]:
    """Return the number of seeds of each replicate."""
    return list(Counter(run.replicate for run in cell.runs).values())


def _better(entry: Entry) -> int:
    """Return on how many tasks the mean accuracy is above the reference's."""
    means = ((sample_of(runs).mean, sample_of(entry.reference[task]).mean) for task, runs in entry.own.items())
    return sum(round(own - other, 9) > 0 for own, other in means)


class _References:
    """Finds what entries are compared with."""

    def __init__(self, runs: pd.DataFrame, table: dict[Key, dict[str, Cell]]) -> None:
        self._table = table
        self._named: dict[tuple[Key, str], str] = {}  # group and checkpoint to reference
        self._entry: dict[tuple[Key, str], str] = {}  # group and checkpoint to entry
        names = [*GROUP, "checkpoint", "entry", "reference"]
        for *group, checkpoint, entry, reference in runs[names].drop_duplicates().itertuples(index=False, name=None):
            at = (_key(group), str(checkpoint))
            self._entry[at] = str(entry)
            if _text(reference):
                self._named[at] = reference

    def compared(self, key: Key, labels: dict[str, Any], cells: dict[str, Cell], tasks: list[str]) -> Entry:
        """Return an entry with its reference's runs, on the tasks that both ran in the same way."""
        group, name = key[:-1], key[-1]
        done = {task: cell for task, cell in cells.items() if cell.accuracy.n}
        complete = set(done) == set(tasks)
        if labels["method"] == "dense" and not (labels["reference"] or labels["twin_of"]):
            own = {task: cell.runs for task, cell in done.items()}
            return _entry(name, own, own, done, complete)
        pairs = {task: self._pairs(group, task, cell) for task, cell in done.items()}
        pairs = {task: pair for task, pair in pairs.items() if all(pair)}
        own, other = ({task: pair[side] for task, pair in pairs.items()} for side in (0, 1))
        return _entry(name, own, other, done, complete)

    def _pairs(self, group: Key, task: str, cell: Cell) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
        """Return those of a cell's runs whose reference ran, and its runs."""
        own: list[Run] = []
        other: dict[Run, None] = {}
        for checkpoint in dict.fromkeys(run.checkpoint for run in cell.runs):
            reference = self._named.get((group, checkpoint))
            found = self._runs(group, reference, task, cell) if reference else ()
            if found:
                own += [run for run in cell.runs if run.checkpoint == checkpoint]
                other |= dict.fromkeys(found)
        return tuple(own), tuple(other)

    def _runs(self, group: Key, reference: str, task: str, cell: Cell) -> tuple[Run, ...]:
        """Return a reference's runs of a task under the same mode, probe and protocol, of its own group first."""
        same = sorted(at for at, name in self._entry if name == reference and at[2:5] == group[2:5])
        for other in sorted(same, key=lambda at: at[:2] != group[:2]):
            theirs = self._table[(*other, self._entry[other, reference])].get(task)
            runs = () if theirs is None else tuple(run for run in theirs.runs if run.checkpoint == reference)
            if runs and theirs is not None:
                alike = (theirs.split, theirs.protocol) == (cell.split, cell.protocol)
                return runs if alike else ()
        return ()


def _entry(
    name: str,
    own: dict[str, tuple[Run, ...]],
    other: dict[str, tuple[Run, ...]],
    done: dict[str, Cell],
    complete: bool,
) -> Entry:
    sizes = {task: cell.n_test for task, cell in done.items() if cell.n_test is not None}
    return Entry(name, own, other, {task: done[task].metric for task in own}, sizes, complete)


def _note(line: dict[str, Any], cells: dict[str, Cell]) -> str:
    """Return what a reader must know before comparing a line with another."""
    ways = {way for cell in cells.values() for way in cell.ways}
    mixed = ways if any(len(cell.ways) > 1 for cell in cells.values()) else set()
    notes = []
    if line["replicates"] not in ("", "0"):
        notes.append(f"upstream replicates {line['replicates'].replace(' ', ', ')}")
    if line["missing"]:
        notes.append(f"missing {line['missing'].replace(' ', ', ')}")
    if line["n_failed"]:
        notes.append(f"{line['n_failed']} failed")
    if line["seeds_min"] != line["seeds_max"]:
        notes.append(f"{line['seeds_min']} to {line['seeds_max']} seeds")
    if line["reference_ran"] and line["relative_error_tasks"] < line["n_tasks"]:
        notes.append(f"relative error over {line['relative_error_tasks']} of {line['n_tasks']} tasks")
    if mixed:
        notes.append(f"a mean over runs that were computed in {len(mixed)} ways: {_differences(mixed)}")
    if line["underfit"]:
        notes.append(f"underfit on {line['underfit'].replace(' ', ', ')}")
    return "; ".join(notes)


def _differences(ways: set[str]) -> str:
    """Return in what several numerics differ, for example ``engine sparse, torch``."""
    values = list(zip(*(way.split("/") for way in sorted(ways)), strict=True))
    named = zip(_NUMERICS[:-1], values, strict=False)
    differing = [f"{name} {', '.join(sorted(set(found)))}" for name, found in named if len(set(found)) > 1]
    return "; ".join(differing) or "decoder, compile or memory layout"


def _average_rank(lines: list[dict[str, Any]], cells: dict[str, dict[str, Cell]], tasks: list[str]) -> None:
    """Fill in the average rank of the complete lines of one group."""
    complete = [line for line in lines if line["complete"]]
    by_task = [shared_ranks([-cells[line["checkpoint"]][task].accuracy.mean for line in complete]) for task in tasks]
    for index, line in enumerate(complete):
        line["average_rank"] = mean(ranks[index] for ranks in by_task)


def shared_ranks(values: list[float]) -> list[float]:
    """Rank ascending from 1; equal values share the mean of their ranks."""
    rounded = [round(v, 9) for v in values]
    return [sum(o < v for o in rounded) + (sum(o == v for o in rounded) + 1) / 2 for v in rounded]


def _best_first(line: dict[str, Any]) -> tuple[Any, ...]:
    error, accuracy = line["relative_error"], line["mean_accuracy"]
    return (
        not line["complete"],
        math.inf if math.isnan(error) else round(error, 9),
        math.inf if math.isnan(accuracy) else -round(accuracy, 9),
        line["checkpoint"],
    )


def _cell_row(key: Key, task: str, cell: Cell) -> tuple[Any, ...]:
    return (*key, task, cell.metric, cell.accuracy.mean, cell.accuracy.sd, cell.accuracy.n, cell.n_failed)


def _key(values: Iterable[Any]) -> Key:
    return tuple(map(str, values))


def mode_order(mode: str) -> int:
    """Return a mode's place: linear before full."""
    return MODES.index(mode) if mode in MODES else len(MODES)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
