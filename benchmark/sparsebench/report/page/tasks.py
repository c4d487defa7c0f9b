"""A section per task: what it is, and every entry's accuracy on it over sparsity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ..cells import GROUP
from ..figures.series import Axis as SparsityAxis
from . import charts, texts
from .boards import Board, sparsity_axis

if TYPE_CHECKING:
    from .sources import Sources

_BEST = 5


@dataclass(frozen=True, eq=False)
class OnBoard:
    """A task on one board: its chart, its best entries and the references' accuracy."""

    board: str
    anchor: str
    plot: Markup
    best: list[tuple[str, str, str]]
    references: list[tuple[str, str, str]]


@dataclass(frozen=True, eq=False)
class TaskSection:
    """A task."""

    name: str
    anchor: str
    title: str
    facts: list[tuple[str, str]]
    notes: str
    boards: list[OnBoard]


def tasks_of(sources: Sources, boards: Sequence[Board]) -> list[TaskSection]:
    """Return a section for each task of the results."""
    lines = {tuple(line[name] for name in (*GROUP, "checkpoint")): line for line in sources.statistics.lines}
    names: dict[str, str] = {texts.text(task): task for task in sources.statistics.tasks}
    return [
        TaskSection(
            name=shown,
            anchor=texts.anchor("t", task),
            title=_title(sources, task),
            facts=_facts(sources, task),
            notes=_notes(sources, task),
            boards=[
                _on_board(board, board.tasks.index(shown), shown, lines) for board in boards if shown in board.tasks
            ],
        )
        for shown, task in sorted(names.items())
    ]


def _title(sources: Sources, task: str) -> str:
    known = sources.registry.tasks.get(task)
    return texts.text(known.title) if known and known.title else texts.text(task)


def _facts(sources: Sources, task: str) -> list[tuple[str, str]]:
    """Return what a task is: from its registry entry, and the sizes and hash that its runs recorded."""
    known = sources.registry.tasks.get(task)
    runs = sources.runs[sources.runs["task"] == task]
    metrics = {"top1": "top-1", "mean_per_class": "mean per class"}
    facts = [("Metric", ", ".join(metrics.get(m, texts.text(m)) for m in sorted(set(runs["metric"].dropna()))))]
    for label, column in (("Classes", "n_classes"), ("Training images", "n_train"), ("Test images", "n_test")):
        facts.append((label, ", ".join(f"{int(n):,}" for n in sorted(set(runs[column].dropna())))))
    if known:
        facts += [("Licence", texts.text(known.licence) or "not stated"), ("Source", texts.text(known.source))]
    facts.append(("SHA-256 of the split", " ".join(sorted(set(runs["split_sha256"].dropna())))))
    return [(label, texts.text(value)) for label, value in facts if value]


def _notes(sources: Sources, task: str) -> str:
    known = sources.registry.tasks.get(task)
    return texts.text(" ".join(known.notes.split())) if known and known.notes else ""


def _on_board(board: Board, column: int, task: str, lines: Mapping[tuple[str, ...], Mapping[str, Any]]) -> OnBoard:
    rows = [row for row in board.rows if row.cells[column].accuracy.sort is not None]
    axis = SparsityAxis.of(row.sparsity.sort for row in board.rows if row.sparsity.sort is not None)
    marks = [
        charts.Mark(row.at, axis.at(row.sparsity.sort), 100 * accuracy, row.key, row.marker, "", row.fill)
        for row in rows
        if row.sparsity.sort is not None and not math.isnan(row.sparsity.sort)
        if (accuracy := row.cells[column].accuracy.sort) is not None
    ]
    name = f"Accuracy on {task} over sparsity, {board.name}"
    plot = charts.scatter(name, marks, sparsity_axis(axis), "Accuracy, %", better="right") if marks else Markup("")
    ordered = sorted(rows, key=lambda row: (-(row.cells[column].accuracy.sort or 0.0), row.name))

    def shown(row: Any) -> tuple[str, str, str]:
        cell = row.cells[column]
        return row.name, row.anchor, cell.accuracy.text + (f" ± {cell.spread}" if cell.spread else "")

    references = [shown(row) for row in rows if row.name in board.references]
    return OnBoard(board.name, board.anchor, plot, [shown(row) for row in ordered[:_BEST]], references)
