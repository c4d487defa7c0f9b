"""The section of a report on few images per class: accuracy over their number, sparse against dense."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..analysis.metrics import Sample, mean
from .style import percent
from .tables import NOTHING, Field, Table
from .ways import WAY, Labels, Way, grouped, way_title

if TYPE_CHECKING:
    import pandas as pd

_PART = re.compile(r"(\d+): ([0-9.]+) \[([0-9.]+), ([0-9.]+)\]")
COLUMNS = (
    *WAY, "checkpoint", "method", "sparsity", "reference", "task", "shots", "runs", "accuracy", "sd", "low", "high",
    "reference_accuracy", "error_ratio",
)  # fmt: skip
_NOTE = (
    "Mean over tasks of the accuracy from so many images per class, each the mean over random draws; in brackets the"
    " mean over tasks of the error as a share of the reference's."
)


@dataclass(frozen=True)
class Shots(Labels):
    """An entry's accuracy on a task from some images per class: mean over seeds, and interval over draws."""

    task: str
    shots: int
    accuracy: Sample
    low: float
    high: float

    @property
    def error(self) -> float:
        """One minus the accuracy."""
        return 1.0 - self.accuracy.mean


def fewshot_rows(frame: pd.DataFrame) -> list[Shots]:
    """Return the few-shot accuracies of a tidy results table, by checkpoint, task and number of images."""
    own = frame[(frame["status"] == "ok") & frame["few_shot"].notna()]
    if own.empty:
        return []
    rows = []
    for labels, (task,), runs in grouped(own, once=["split_sha256"], by=["task"]):
        found: dict[int, list[tuple[float, float, float]]] = {}
        for _, run in runs.iterrows():
            for shots, value, low, high in _PART.findall(run["few_shot"]):
                exact = run.get(f"few_shot_{shots}")
                best = value if exact is None or exact != exact else exact  # the text is rounded
                found.setdefault(int(shots), []).append((float(best), float(low), float(high)))
        for shots, values in sorted(found.items()):
            accuracy = Sample.of(value for value, _, _ in values)
            half = mean((high - low) / 2 for _, low, high in values) / math.sqrt(len(values))  # draws differ by seed
            ends = max(0.0, accuracy.mean - half), min(1.0, accuracy.mean + half)
            rows.append(Shots(**labels, task=task, shots=shots, accuracy=accuracy, low=ends[0], high=ends[1]))
    return rows


def fewshot_csv(rows: Sequence[Shots]) -> str:
    """Return one row per checkpoint, task and number of images; fractions, the interval over draws."""
    from ..store.csvfile import to_csv

    at = _by_place(rows)
    lines = []
    for row in rows:
        other = at.get((row.way, row.compared_with, row.task, row.shots))
        ratio = row.error / other.error if other is not None and other.error > 0 else math.nan
        against = other.accuracy.mean if other else math.nan
        numbers = (row.accuracy.mean, row.accuracy.sd, row.low, row.high, against, ratio)
        lines.append(
            (
                *row.way, row.checkpoint, row.method, row.sparsity, row.compared_with, row.task, row.shots,
                row.accuracy.n, *(None if math.isnan(value) else round(value, 6) for value in numbers),
            )
        )  # fmt: skip
    return to_csv(COLUMNS, lines)


def fewshot_tables(rows: Sequence[Shots]) -> list[Table]:
    """Return one table per way of running: a row per checkpoint, a column per number of images."""
    tables = []
    at = _by_place(rows)
    for way in dict.fromkeys(row.way for row in rows):
        own = [row for row in rows if row.way == way]
        shots = sorted({row.shots for row in own})
        lines = []
        for name in dict.fromkeys(row.checkpoint for row in own):
            mine = [row for row in own if row.checkpoint == name]
            reference = mine[0].compared_with
            texts = [name, percent(mine[0].sparsity, 0)]
            for count in shots:
                cells = [row for row in mine if row.shots == count]
                others = [at.get((way, reference, row.task, count)) for row in cells]
                ratios = [c.error / o.error for c, o in zip(cells, others, strict=True) if o and o.error > 0]
                text = percent(mean(c.accuracy.mean for c in cells), 1) if cells else NOTHING
                compared = ratios and name != reference
                texts.append(text + (f" ({percent(mean(ratios), 0)})" if compared else ""))
            lines.append(tuple(map(Field, texts)))
        header = ("Checkpoint", "Sparsity %", *(f"{count} per class" for count in shots))
        tables.append(Table(f"Few images per class: {way_title(way)}", header, tuple(lines), (_NOTE,)))
    return tables


def _by_place(rows: Sequence[Shots]) -> dict[tuple[Way, str, str, int], Shots]:
    return {(row.way, row.checkpoint, row.task, row.shots): row for row in rows}
