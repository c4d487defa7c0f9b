"""The paper's summary: by method and sparsity the mean accuracy, relative error and rank in each mode, side by side."""

from __future__ import annotations

import math
from typing import Any

from ..registry.names import method_title, variant_title
from .aggregate import Aggregate, mode_order
from .cells import GROUP
from .style import method_order, percent, signed_percent
from .tables import NOTHING, Field, Table, mark_best, rank_text, sparsity_text

Line = dict[str, Any]

METHOD_COLUMNS: tuple[str, ...] = (
    "suite",
    "arch",
    "method",
    "variant",
    "distribution",
    "nm",
    "sparsity",
    "checkpoint",
    "upstream_top1",
    "mode",
    "probe",
    "protocol",
    "mean_accuracy",
    "relative_error",
    "relative_error_low",
    "relative_error_high",
    "tasks_better",
    "relative_error_tasks",
    "average_rank",
    "entries_ranked",
    "n_tasks",
)

_NAMES = ("mean", "rel. error %", "better", "avg. rank")


def methods_csv(statistics: Aggregate) -> str:
    """Return the summary as CSV, a row per entry and group, accuracies and errors as fractions."""
    from ..store.csvfile import to_csv

    rows = []
    for _, part in statistics.groups():
        ranked = int(part.summary["average_rank"].notna().sum())
        for line in sorted(part.lines, key=_by_method):
            row = line | {"entries_ranked": ranked}
            rows.append([_decimals(row[name]) for name in METHOD_COLUMNS])
    return to_csv(METHOD_COLUMNS, rows)


def overviews(statistics: Aggregate) -> list[Table]:
    """Return a table per suite and architecture: a row per entry, for each group (mode, protocol) four columns."""
    families = dict.fromkeys((line["suite"], line["arch"]) for line in statistics.lines)
    return [_overview(suite, arch, statistics) for suite, arch in families]


def entry_title(line: Line) -> str:
    """Return what an entry is called on paper: method, variant, pattern, and whether it is a dense twin."""
    if line["method"] == "dense" and line["twin_of"]:
        return f"Dense twin of {line['twin_of']}"
    return " ".join(t for t in (method_title(line["method"]), variant_title(line["variant"]), line["nm"]) if t)


def _overview(suite: str, arch: str, statistics: Aggregate) -> Table:
    lines = [line for line in statistics.lines if (line["suite"], line["arch"]) == (suite, arch)]
    groups = sorted({tuple(line[name] for name in GROUP) for line in lines}, key=lambda g: (mode_order(g[2]), g))
    by_group = {group: [line for line in lines if tuple(line[n] for n in GROUP) == group] for group in groups}
    entries = {line["checkpoint"]: line for line in sorted(lines, key=_by_method)}
    columns = [_names(entries), [Field(sparsity_text(line)) for line in entries.values()]]
    for group in groups:
        found = {line["checkpoint"]: line for line in by_group[group]}
        columns += _columns([found.get(name) for name in entries])
    header = [f"{_group_name(group, groups)} {name}" for group in groups for name in _NAMES]
    notes = [
        "Mean: accuracy in percent over tasks. Rel. error: mean over tasks of the increase in error against the dense"
        " reference; negative is better.",
        "Better: tasks with a higher mean accuracy than the reference's. Avg. rank: the mean over tasks of the rank,"
        f" among {_counts({_group_name(group, groups): _ranked(found) for group, found in by_group.items()})} entries.",
    ]
    title = " · ".join(part for part in ("Methods", suite and f"suite {suite}", arch and f"arch {arch}") if part)
    return Table(title, ("Method", "Sparsity %", *header), tuple(zip(*columns, strict=True)), tuple(notes))


def _names(entries: dict[str, Line]) -> list[Field]:
    """Return the entries' names, with their ids where a name stands for two at one sparsity."""
    keys = [(entry_title(line), line["sparsity"]) for line in entries.values()]
    return [
        Field(key[0] if keys.count(key) == 1 else f"{key[0]} ({name})") for key, name in zip(keys, entries, strict=True)
    ]


def _columns(lines: list[Line | None]) -> list[list[Field]]:
    """Return the four columns of a group; an entry that it doesn't have has dashes."""
    complete = [line if line and line["complete"] else None for line in lines]
    accuracy = [percent(line["mean_accuracy"]) if line and line["n_tasks"] else NOTHING for line in lines]
    errors = [_signed(line) for line in lines]
    better = [
        f"{line['tasks_better']} of {line['relative_error_tasks']}" if line and _compared(line) else NOTHING
        for line in lines
    ]
    ranks = [rank_text(line["average_rank"], 1) if line else NOTHING for line in lines]
    return [
        mark_best([line["mean_accuracy"] if line else math.nan for line in complete], accuracy),
        mark_best([line["relative_error"] if line else math.nan for line in complete], errors, smallest=True),
        [Field(text) for text in better],
        mark_best([line["average_rank"] if line else math.nan for line in complete], ranks, smallest=True),
    ]


def _compared(line: Line) -> bool:
    """Return whether an entry was compared with a reference other than itself."""
    own = line["method"] == "dense" and not (line["reference"] or line["twin_of"])
    return not own and line["relative_error_tasks"] > 0


def _signed(line: Line | None) -> str:
    return NOTHING if line is None or math.isnan(line["relative_error"]) else signed_percent(line["relative_error"])


def _group_name(group: tuple[str, ...], groups: list[tuple[str, ...]]) -> str:
    """Return a group's mode, with probe and protocol where others have the same mode."""
    alone = sum(other[2] == group[2] for other in groups) == 1
    return group[2] if alone else " ".join(part for part in group[2:] if part)


def _ranked(lines: list[Line]) -> int:
    return sum(not math.isnan(line["average_rank"]) for line in lines)


def _counts(counts: dict[str, int]) -> str:
    """Return how many entries each group ranks, once where all rank as many."""
    if len(set(counts.values())) == 1:
        return str(next(iter(counts.values())))
    return ", ".join(f"{count} ({name})" for name, count in counts.items())


def _by_method(line: Line) -> tuple[Any, ...]:
    twin = bool(line["twin_of"])
    return method_order(line["method"]), twin, line["variant"], bool(line["nm"]), line["sparsity"], line["checkpoint"]


def _decimals(value: Any) -> Any:
    """Round what is a float to six decimals; a negative zero is none."""
    return round(value, 6) + 0.0 if isinstance(value, float) else value
