"""The section of a report on agreement: each sparse checkpoint against its reference, by predicted classes alone.

A network that was trained together with a dense one (``twin_of``) is compared with that one, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.intervals import Interval
from ..registry import Registry, load_tasks
from ..store import Predictions
from ..store.classes import Reader
from .measures import TaskMeasures, task_measures
from .pairing import levels_of
from .style import group_title, percent
from .tables import NOTHING, Field, Table

if TYPE_CHECKING:
    import pandas as pd

_GROUP = ("mode", "probe", "protocol")
COLUMNS = (
    *_GROUP, "checkpoint", "reference", "task", "images", "pairs",
    "agreement", "agreement_low", "agreement_high", "forgotten", "gained",
    "error_consistency", "error_consistency_low", "error_consistency_high", "scope",
    "noise_heads", "noise_replicates",
)  # fmt: skip
_HEADER = ("Checkpoint", "Task", "Same prediction %", "Noise %", "Forgotten %", "Gained %", "Error consistency")
_NOTES = (
    "Same prediction: images that both networks predict the same class for, with a 95 % interval.",
    "Noise: the same between two heads of the reference, or, in brackets, between two of its upstream trainings; what"
    " isn't below that is no difference of the networks.",
    "Forgotten, gained: images that the reference alone, or the sparse network alone, gets right.",
    "Error consistency: Cohen's kappa of being right; 1 for the same errors, 0 for independent ones.",
)


@dataclass(frozen=True, eq=False)
class Row:
    """A sparse checkpoint against its reference on one task, or against the dense twin that it was trained with."""

    group: tuple[str, str, str]
    checkpoint: str
    reference: str
    found: TaskMeasures
    twin: bool = False


def agreement_rows(frame: pd.DataFrame, reader: Reader | None, registry: Registry | None = None) -> list[Row]:
    """Return each checkpoint against its reference and its dense twin, on the tasks where both kept their predictions.

    Parameters
    ----------
    frame : DataFrame
        A tidy results table.
    reader : callable, optional
        What :func:`sparsebench.store.classes.classes_reader` gives.
    registry : Registry, optional
        The tasks, which declare what images come from one source.
    """
    if reader is None:
        return []
    registry = load_tasks() if registry is None else registry
    runs = frame[(frame["status"] == "ok") & frame["record_key"].notna() & (frame["probe"].fillna("") != "fewshot")]
    rows: list[Row] = []
    keys = ["mode", "probe", "protocol", "task", "split_sha256"]
    for group, whole in runs.groupby([runs[name].fillna("").astype(str) for name in keys], sort=True):
        mode, probe, protocol, task, _ = group
        rows += _of_task((str(mode), str(probe), str(protocol)), str(task), whole, reader, registry)
    return sorted(rows, key=lambda row: (row.group, row.twin, row.checkpoint, row.found.task))


def _of_task(
    group: tuple[str, str, str], task: str, runs: pd.DataFrame, reader: Reader, registry: Registry
) -> list[Row]:
    # replicates of one upstream training are one entry
    endings = [f"_r{number}" if number else "" for number in runs["replicate"].fillna(0).astype(int)]
    named = [str(name).removesuffix(end) for name, end in zip(runs["checkpoint"], endings, strict=True)]
    runs = runs.assign(entry=named)
    entries = dict(zip(runs["checkpoint"], named, strict=True))
    runs["against"] = [entries.get(name, "") if isinstance(name, str) else "" for name in runs["reference"]]
    twins = runs[runs["twin_of"].notna()]
    pairs = {(name, other, False) for name, other in zip(runs["entry"], runs["against"], strict=True) if other}
    pairs |= {(str(name), twin, True) for name, twin in zip(twins["twin_of"], twins["entry"], strict=True)}
    wanted = runs[runs["entry"].isin({name for pair in pairs for name in pair[:2]})]
    if wanted.empty:
        return []
    kept: dict[str, Predictions] = dict(reader(set(wanted["record_key"])))
    wanted = wanted[wanted["record_key"].isin(kept.keys())].sort_values(["numerics", "run_id"], kind="stable")
    wanted = wanted.drop_duplicates(["entry", "replicate", "seed"])
    rows = []
    for name, reference, twin in sorted(pairs):
        own, theirs = (wanted[wanted["entry"] == entry] for entry in (name, reference))
        if reference == name or own.empty or theirs.empty:
            continue
        levels = (levels_of(own), levels_of(theirs))
        read = kept.__getitem__
        found = task_measures(task, levels, (read, read), registry, logits=False)
        rows.append(Row(group, name, reference, found, twin))
    return rows


def agreement_csv(rows: Sequence[Row]) -> str:
    """Return one row per checkpoint, task and way of running; fractions."""
    from ..store.csvfile import to_csv

    return to_csv(COLUMNS, [_csv(row) for row in rows])


def agreement_tables(rows: Sequence[Row]) -> list[Table]:
    """Return one table per way of running."""
    tables = []
    for group in dict.fromkeys(row.group for row in rows):
        named = dict(zip(_GROUP, group, strict=True)) | {"suite": "", "arch": ""}
        own = [row for row in rows if row.group == group and not row.twin]
        if own:
            title = f"Agreement with {', '.join(sorted({row.reference for row in own}))}: {group_title(named)}"
            tables.append(Table(title, _HEADER, tuple(_fields(row) for row in own), _NOTES))
        if twins := [row for row in rows if row.group == group and row.twin]:
            header = (_HEADER[0], "Dense twin", *_HEADER[1:])
            fields = tuple((_fields(row)[0], Field(row.reference), *_fields(row)[1:]) for row in twins)
            title = f"Agreement of networks trained together: {group_title(named)}"
            tables.append(Table(title, header, fields, _NOTES if not own else ()))
    return tables


def _csv(row: Row) -> tuple[object, ...]:
    found = row.found
    agree, kappa = found.between["agreement"], found.between["error_consistency"]
    values = (
        agree.value, agree.low, agree.high, found.between["forgotten"].value, found.between["gained"].value,
        kappa.value, kappa.low, kappa.high,
    )  # fmt: skip
    shown = [None if math.isnan(value) else round(value, 12) for value in values]
    noise = [None if math.isnan(value) else round(value, 12) for value in _noise(found)]
    scope = agree.covers
    return (*row.group, row.checkpoint, row.reference, found.task, found.n, found.pairs, *shown, scope, *noise)


def _noise(found: TaskMeasures) -> tuple[float, float]:
    """Return the agreement between two heads of the reference, and between two of its upstream trainings."""
    heads, replicates = (found.noise.get(f"{kind}_b", {}).get("agreement", np.nan) for kind in ("heads", "replicates"))
    return float(heads), float(replicates)


def _fields(row: Row) -> tuple[Field, ...]:
    found = row.found
    heads, replicates = _noise(found)
    noise = NOTHING if math.isnan(heads) else percent(heads, 1)
    noise += "" if math.isnan(replicates) else f" ({percent(replicates, 1)})"
    kappa = found.between["error_consistency"]
    texts = (
        row.checkpoint,
        found.task,
        _interval(found.between["agreement"], lambda value: percent(value, 1)),
        noise,
        percent(found.between["forgotten"].value, 1),
        percent(found.between["gained"].value, 1),
        NOTHING if math.isnan(kappa.value) else _interval(kappa, lambda value: f"{value:.2f}".replace("-", "−")),
    )
    return tuple(map(Field, texts))


def _interval(value: Interval, text: Callable[[float], str]) -> str:
    if math.isnan(value.low):
        return text(value.value)
    return f"{text(value.value)} [{text(value.low)}, {text(value.high)}]"
