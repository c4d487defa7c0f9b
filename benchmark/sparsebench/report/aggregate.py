"""Runs to cells (mean and spread over seeds), and cells to one line per checkpoint: means, relative error, ranks.

Only like is averaged with like: a *group* is what shares suite, architecture, mode, probe and protocol. Failed runs are
counted but not averaged. Checkpoints, tasks and protocols are distinguished by content (:mod:`.contents`); a suite is
looked up in the registry. Where runs of a group were computed in several ways (device, precision, engine, threads),
each seed of a cell counts once, computed in the group's commonest way where there is one, and a cell that mixes ways
says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..analysis.metrics import Sample, mean, relative_error_increase_interval
from ..registry import load_tasks
from ..schema import MODES, UNDERFIT
from .contents import by_content

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Registry

GROUP: tuple[str, ...] = ("suite", "arch", "mode", "probe", "protocol")
"""Columns of a group; a checkpoint is a line in each group that it ran in."""

LABELS: tuple[str, ...] = (
    "method",
    "variant",
    "sparsity",
    "sparsity_measured",
    "sparsity_scope",
    "distribution",
    "nm",
    "reference",
    "twin_of",
    "upstream_top1",
)
"""What is known about a checkpoint and repeated on its line."""

CELL_COLUMNS: tuple[str, ...] = (*GROUP, "checkpoint", "task", "metric", "mean", "sd", "n", "n_failed")

SUMMARY_COLUMNS: tuple[str, ...] = (
    *GROUP,
    "checkpoint",
    *LABELS,
    "mean_accuracy",
    "relative_error",
    "relative_error_low",
    "relative_error_high",
    "relative_error_tasks",
    "tasks_better",
    "rank",
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
    "note",
)

Key = tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A checkpoint on a task in a group: its accuracy over seeds, and the fingerprints it is comparable under.

    ``ways`` names the numerics that its runs were computed with.
    It is ``underfit`` where the linear head of one of its seeds is (see :class:`sparsebench.schema.Convergence`).
    """

    accuracy: Sample
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


def aggregate(frame: pd.DataFrame, registry: Registry | None = None) -> Aggregate:
    """Return the statistics of a tidy results table; the order of its rows doesn't matter.

    Names are made to agree with contents first (:func:`.contents.by_content`); suites are those of the ``registry``, by
    default the built-in one.

    The reference of a checkpoint is looked up by its id among all runs of the same task, mode, probe and protocol,
    whatever its architecture or suite, and compared on tasks with the same split and hyperparameters. A dense
    checkpoint without a reference (and no twin) is its own: its relative error is 0 by definition.

    ``rank`` is 1 plus the number of complete entries of the group whose interval of the relative error lies wholly
    below the entry's own: an entry ranks below those alone that are clearly better. ``average_rank`` is the mean
    over tasks of the rank of the mean accuracy, ties sharing their mean rank. Only entries that ran all the group's
    tasks have ranks. ``tasks_better`` counts the tasks where the mean accuracy is above the reference's.
    """
    return statistics_of(by_content(frame, registry or load_tasks()))


def statistics_of(runs: pd.DataFrame) -> Aggregate:
    """Return the statistics of runs whose names agree with their contents; see :func:`aggregate`."""
    import pandas as pd

    runs = runs.copy()
    runs[list(GROUP)] = runs[list(GROUP)].astype("string").fillna("")
    runs = _once_per_seed(runs)
    table = _cells(runs)
    labels = {_key(key): _labels(rows) for key, rows in runs.groupby([*GROUP, "checkpoint"], sort=True)}
    lines: list[dict[str, Any]] = []
    for group in sorted({key[:-1] for key in labels}, key=lambda g: (g[:2], mode_order(g[2]), g[3:])):
        members = [key for key in labels if key[:-1] == group]
        tasks = sorted({task for key in members for task in table[key]})
        own = [_line(key, labels[key], tasks, table) for key in members]
        _rank(own, {key[-1]: table[key] for key in members}, tasks)
        lines += sorted(own, key=_best_first)
    cells = [_cell_row(key, task, cell) for key in sorted(table) for task, cell in sorted(table[key].items())]
    summary = pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS))
    return Aggregate(pd.DataFrame(cells, columns=list(CELL_COLUMNS)), summary)


_NUMERICS = ("device", "precision", "engine", "threads", "numerics")


def _once_per_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each seed of a cell once: a finished run before a failed one, then the commonest numerics."""
    if runs.empty:
        return runs.assign(way="")
    way = runs[list(_NUMERICS)].astype("string").fillna("").agg("/".join, axis=1)
    runs = runs.assign(way=way, _failed=runs["status"] != "ok")
    runs["_common"] = runs.groupby([*GROUP, "way"], sort=False)["way"].transform("size")
    order = runs.sort_values(
        ["_failed", "_common", "way", "run_id"], ascending=[True, False, True, True], kind="stable"
    )
    known = order["seed"].notna() & order["run_id"].notna()
    twice = known & order.duplicated([*GROUP, "checkpoint", "task", "seed"], keep="first")
    return order[~twice].sort_index().drop(columns=["_failed", "_common"])


def _cells(runs: pd.DataFrame) -> dict[Key, dict[str, Cell]]:
    """Return the cells by group and checkpoint, then task."""
    table: dict[Key, dict[str, Cell]] = {}
    for key, rows in runs.groupby([*GROUP, "checkpoint", "task"], sort=True):
        done = rows[(rows["status"] == "ok") & rows["accuracy"].notna()]
        first = rows.iloc[0]
        *line, task = _key(key)
        table.setdefault(tuple(line), {})[task] = Cell(
            Sample.of(done["accuracy"]),
            _text(first["metric"]),
            len(rows) - len(done),
            _text(first["split_sha256"]),
            _text(first["protocol_sha256"]),
            tuple(sorted(set(done["way"]))),
            bool((done["relative_gap"] > UNDERFIT).any()),
        )
    return table


def _labels(rows: pd.DataFrame) -> dict[str, Any]:
    """Return what is known about a checkpoint: of each column the value that its latest run knows."""
    latest = rows.sort_values(["started", "run_id"], na_position="first")
    values = {}
    for name in LABELS:
        known = latest[name].dropna()
        values[name] = known.iloc[-1] if len(known) else (math.nan if name in _NUMBERS else "")
    return values


_ERROR_NAMES = ("relative_error", "relative_error_low", "relative_error_high")
_NUMBERS = ("sparsity", "sparsity_measured", "upstream_top1")


def _line(key: Key, labels: dict[str, Any], tasks: list[str], table: dict[Key, dict[str, Cell]]) -> dict[str, Any]:
    """Return a checkpoint's summary, without its ranks."""
    cells = table[key]
    done = {task: cell for task, cell in cells.items() if cell.accuracy.n}
    counts = [cell.accuracy.n for cell in done.values()] or [0]
    missing = [task for task in tasks if task not in done]
    line = dict(zip((*GROUP, "checkpoint"), key, strict=True)) | labels
    line |= {
        "mean_accuracy": mean(cell.accuracy.mean for cell in done.values()),
        "n_tasks": len(done),
        "group_tasks": len(tasks),
        "seeds_min": min(counts),
        "seeds_max": max(counts),
        "n_failed": sum(cell.n_failed for cell in cells.values()),
        "complete": not missing,
        "missing": " ".join(missing),
        "underfit": " ".join(task for task, cell in done.items() if cell.underfit),
        "rank": None,
        "average_rank": math.nan,
    }
    line |= _against_reference(key, labels, done, table)
    ways = {way for cell in done.values() for way in cell.ways}
    line["note"] = _note(line, ways if any(len(cell.ways) > 1 for cell in done.values()) else set())
    return line


def _against_reference(
    key: Key, labels: dict[str, Any], done: dict[str, Cell], table: dict[Key, dict[str, Cell]]
) -> dict[str, Any]:
    """Return the relative error increase against the checkpoint's reference, where that ran."""
    names = (*_ERROR_NAMES, "relative_error_tasks", "reference_ran", "tasks_better")
    if labels["method"] == "dense" and not (labels["reference"] or labels["twin_of"]):
        zero = 0.0 if done else math.nan
        return dict(zip(names, (zero, zero, zero, len(done), bool(done), 0), strict=True))
    reference = _reference_cells(key, labels["reference"], table)
    common = {
        task: cell
        for task, cell in done.items()
        if task in reference and (reference[task].split, reference[task].protocol) == (cell.split, cell.protocol)
    }
    got = relative_error_increase_interval(
        {t: c.accuracy for t, c in common.items()}, {t: reference[t].accuracy for t in common}
    )
    better = sum(round(c.accuracy.mean - reference[t].accuracy.mean, 9) > 0 for t, c in common.items())
    return dict(zip(names, (got.value, got.low, got.high, len(got.tasks), bool(common), better), strict=True))


def _reference_cells(key: Key, reference: str, table: dict[Key, dict[str, Cell]]) -> dict[str, Cell]:
    """Return the finished cells of a reference under the same mode, probe and protocol, its own group's first."""
    if not reference:
        return {}
    same = [k for k in sorted(table) if k[-1] == reference and k[2:5] == key[2:5]]
    found: dict[str, Cell] = {}
    for other in sorted(same, key=lambda k: k[:2] != key[:2]):
        for task, cell in table[other].items():
            if cell.accuracy.n:
                found.setdefault(task, cell)
    return found


def _note(line: dict[str, Any], mixed: set[str]) -> str:
    """Return what a reader must know before comparing a line with another; ``mixed`` numerics were averaged over."""
    notes = []
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


def _rank(lines: list[dict[str, Any]], cells: dict[str, dict[str, Cell]], tasks: list[str]) -> None:
    """Fill in both ranks of the complete lines of one group."""
    complete = [line for line in lines if line["complete"]]
    ranked = [line for line in complete if not math.isnan(line["relative_error"])]
    for line in ranked:
        line["rank"] = 1 + sum(_bound(other, "high") < _bound(line, "low") for other in ranked)
    by_task = [shared_ranks([-cells[line["checkpoint"]][task].accuracy.mean for line in complete]) for task in tasks]
    for index, line in enumerate(complete):
        line["average_rank"] = mean(ranks[index] for ranks in by_task)


def _bound(line: dict[str, Any], side: str) -> float:
    """Return an interval's end, rounded so that the last bits decide nothing; without an interval, the estimate."""
    value = line[f"relative_error_{side}"]
    return round(line["relative_error"] if math.isnan(value) else value, 9)


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
