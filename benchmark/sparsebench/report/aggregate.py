"""Runs to cells (mean and spread over seeds), and cells to one line per checkpoint: means, relative error, ranks.

Only like is averaged with like: a *group* is what shares suite, architecture, mode, probe and protocol. Failed runs are
counted but not averaged. Runs in mode ``upstream`` aren't transfer: :mod:`.own_task` has them. Checkpoints, tasks and
protocols are distinguished by content (:mod:`.contents`); a suite is looked up in the registry. Where runs of a group
were computed in several ways (device, precision, engine, threads), each seed of a cell counts once, computed in the
group's commonest way where there is one, and a cell that mixes ways says so. Replicates of one upstream training are
one entry, whose name is that of replicate 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..analysis.metrics import Sample
from ..registry import load_tasks
from ..schema import MODES
from .cells import GROUP, Cell, Key, cells_of, counted_once, entries_of, key_of
from .contents import LABELS, by_content, transfer_only
from .intervals import INTERVAL_COLUMNS, Kept, group_intervals
from .references import References
from .summary import add_average_rank, best_first, labels_of, line_of, note_of, tasks_better

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Registry
    from ..store.classes import Reader

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
    table = cells_of(runs)
    labels = {key_of(key): labels_of(rows) for key, rows in runs.groupby([*GROUP, "entry"], sort=True)}
    references = References(runs, table)
    lines: list[dict[str, Any]] = []
    for group in sorted({key[:-1] for key in labels}, key=lambda g: (g[:2], mode_order(g[2]), g[3:])):
        members = [key for key in labels if key[:-1] == group]
        tasks = sorted({task for key in members for task in table[key]})
        compared = [references.compared(key, labels[key], table[key], tasks) for key in members]
        found = group_intervals(compared, kept or Kept())
        own = [line_of(key, labels[key], tasks, table[key], found[key[-1]]) for key in members]
        for line, entry in zip(own, compared, strict=True):
            line["reference_ran"] = bool(entry.own)
            line["tasks_better"] = tasks_better(entry)
        add_average_rank(own, {key[-1]: table[key] for key in members}, tasks)
        for line in own:
            line["note"] = note_of(line, table[(*group, line["checkpoint"])])
        lines += sorted(own, key=best_first)
    cells = [_cell_row(key, task, cell) for key in sorted(table) for task, cell in sorted(table[key].items())]
    summary = pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS))
    return Aggregate(pd.DataFrame(cells, columns=list(CELL_COLUMNS)), summary)


def _cell_row(key: Key, task: str, cell: Cell) -> tuple[Any, ...]:
    return (*key, task, cell.metric, cell.accuracy.mean, cell.accuracy.sd, cell.accuracy.n, cell.n_failed)


def mode_order(mode: str) -> int:
    """Return a mode's place: linear before full."""
    return MODES.index(mode) if mode in MODES else len(MODES)
