"""One line per entry of a group: its means, counts, ranks, and what a reader must know of it."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..analysis.metrics import mean
from ..schema import VERDICTS
from .cells import GROUP, NUMERICS, Cell, Key
from .contents import LABELS
from .intervals import Entry, sample_of

if TYPE_CHECKING:
    import pandas as pd


def labels_of(rows: pd.DataFrame) -> dict[str, Any]:
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


def line_of(
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


def tasks_better(entry: Entry) -> int:
    """Return on how many tasks the mean accuracy is above the reference's."""
    means = ((sample_of(runs).mean, sample_of(entry.reference[task]).mean) for task, runs in entry.own.items())
    return sum(round(own - other, 9) > 0 for own, other in means)


def note_of(line: dict[str, Any], cells: dict[str, Cell]) -> str:
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
    named = zip(NUMERICS[:-1], values, strict=False)
    differing = [f"{name} {', '.join(sorted(set(found)))}" for name, found in named if len(set(found)) > 1]
    return "; ".join(differing) or "decoder, compile or memory layout"


def add_average_rank(lines: list[dict[str, Any]], cells: dict[str, dict[str, Cell]], tasks: list[str]) -> None:
    """Fill in the average rank of the complete lines of one group."""
    complete = [line for line in lines if line["complete"]]
    by_task = [shared_ranks([-cells[line["checkpoint"]][task].accuracy.mean for line in complete]) for task in tasks]
    for index, line in enumerate(complete):
        line["average_rank"] = mean(ranks[index] for ranks in by_task)


def shared_ranks(values: list[float]) -> list[float]:
    """Rank ascending from 1; equal values share the mean of their ranks."""
    rounded = [round(v, 9) for v in values]
    return [sum(o < v for o in rounded) + (sum(o == v for o in rounded) + 1) / 2 for v in rounded]


def best_first(line: dict[str, Any]) -> tuple[Any, ...]:
    """Return what lines of a group are sorted by."""
    error, accuracy = line["relative_error"], line["mean_accuracy"]
    return (
        not line["complete"],
        math.inf if math.isnan(error) else round(error, 9),
        math.inf if math.isnan(accuracy) else -round(accuracy, 9),
        line["checkpoint"],
    )
