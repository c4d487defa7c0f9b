"""Runs to cells: an entry on a task in a group, with its runs over seeds and replicates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..analysis.metrics import Sample
from ..schema import UNDERFIT
from .contents import joined
from .intervals import Run, sample_of

if TYPE_CHECKING:
    import pandas as pd

GROUP: tuple[str, ...] = ("suite", "arch", "mode", "probe", "protocol")
"""Columns of a group; a checkpoint is a line in each group that it ran in."""

NUMERICS = ("device", "precision", "engine", "threads", "numerics")

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


def entries_of(runs: pd.DataFrame) -> list[str]:
    """Return each run's entry: its checkpoint, without the ending of its replicate."""
    numbers = runs["replicate"].fillna(0)
    return [
        name.removesuffix(f"_r{number}") if number else name
        for name, number in zip(runs["checkpoint"].astype(str), numbers, strict=True)
    ]


def counted_once(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each seed of a cell once: a finished run before a failed one, then the commonest numerics."""
    if runs.empty:
        return runs.assign(way="")
    runs = runs.assign(way=joined(runs, NUMERICS, "/"), _failed=runs["status"] != "ok")
    runs["_common"] = runs.groupby([*GROUP, "way"], sort=False)["way"].transform("size")
    order = runs.sort_values(
        ["_failed", "_common", "way", "run_id"], ascending=[True, False, True, True], kind="stable"
    )
    known = order["seed"].notna() & order["run_id"].notna()
    twice = known & order.duplicated([*GROUP, "checkpoint", "task", "seed"], keep="first")
    return order[~twice].sort_index().drop(columns=["_failed", "_common"])


def cells_of(runs: pd.DataFrame) -> dict[Key, dict[str, Cell]]:
    """Return the cells by group and entry, then task."""
    table: dict[Key, dict[str, Cell]] = {}
    for key, rows in runs.groupby([*GROUP, "entry", "task"], sort=True):
        done = rows[(rows["status"] == "ok") & rows["accuracy"].notna()]
        first = rows.iloc[0]
        *line, task = key_of(key)
        finished = _runs(done)
        sizes = done["n_test"].dropna()
        table.setdefault(tuple(line), {})[task] = Cell(
            sample_of(finished),
            finished,
            int(sizes.iloc[0]) if len(sizes) else None,
            text_of(first["metric"]),
            len(rows) - len(done),
            text_of(first["split_sha256"]),
            text_of(first["protocol_sha256"]),
            tuple(sorted(set(done["way"]))),
            bool((done["relative_gap"] > UNDERFIT).any()),
        )
    return table


def _runs(rows: pd.DataFrame) -> tuple[Run, ...]:
    """Return finished runs, sorted by replicate and seed."""
    numbers = (_integers(rows[name]) for name in ("replicate", "seed"))
    keys = [text_of(value) or None for value in rows["record_key"].tolist()]
    columns = zip(rows["checkpoint"].astype(str), *numbers, keys, rows["accuracy"].astype(float), strict=True)
    found = [Run(name, replicate or 0, seed, key, value) for name, replicate, seed, key, value in columns]
    return tuple(sorted(found, key=lambda r: (r.replicate, -1 if r.seed is None else r.seed, r.checkpoint, r.accuracy)))


def _integers(series: pd.Series) -> list[int | None]:
    return [None if missing else int(value) for value, missing in zip(series.tolist(), series.isna(), strict=True)]


def key_of(values: Iterable[Any]) -> Key:
    """Return the values of a group and an entry as texts."""
    return tuple(map(str, values))


def text_of(value: Any) -> str:
    """Return a text; an empty one for what is missing."""
    return value if isinstance(value, str) else ""
