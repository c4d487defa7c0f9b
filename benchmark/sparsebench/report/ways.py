"""Runs by way of running (mode, probe, protocol) and entry: for the sections of a report that aren't about suites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .cells import entries_of, text_of
from .style import group_title

if TYPE_CHECKING:
    import pandas as pd

WAY = ("mode", "probe", "protocol")
"""The columns of a way of running."""

Way = tuple[str, str, str]


@dataclass(frozen=True)
class Labels:
    """An entry in a way of running: what it is called, and what it is compared with."""

    way: Way
    checkpoint: str
    method: str
    sparsity: float
    reference: str

    @property
    def compared_with(self) -> str:
        """The reference; a dense entry that names none is its own, and any other has none (empty text)."""
        return self.reference or (self.checkpoint if self.method == "dense" else "")


def grouped(
    runs: pd.DataFrame, once: Sequence[str], by: Sequence[str]
) -> Iterator[tuple[dict[str, Any], list[str], pd.DataFrame]]:
    """Yield runs by way of running, entry and the values of some columns.

    Yields the fields of :class:`Labels`, those values, and the rows.

    Parameters
    ----------
    runs : DataFrame
        With the labels of a tidy results table.
    once : sequence of str
        Columns that, with way, entry, replicate, task and seed, make two rows the same run: one of them counts.
    by : sequence of str
        Columns to group by besides way and entry.
    """
    own = runs.assign(entry=entries_of(runs)).sort_values(["numerics", "run_id"], kind="stable")
    own = own.drop_duplicates([*WAY, "entry", "replicate", "task", "seed", *once])
    own = own.sort_values(["replicate", "seed"], kind="stable")  # the first names the reference
    keys = [own[name].fillna("").astype(str) for name in (*WAY, "entry", *by)]
    for key, rows in own.groupby(keys, sort=True):
        mode, probe, protocol, entry, *values = map(str, key)
        first = rows.iloc[0]
        sparsity, reference = float(first["sparsity"]), text_of(first["reference"])
        yield vars(Labels((mode, probe, protocol), entry, str(first["method"]), sparsity, reference)), values, rows


def labels_of(row: Labels) -> dict[str, Any]:
    """Return the labels of something that has more fields."""
    return {name: getattr(row, name) for name in Labels.__dataclass_fields__}


def way_title(way: Way) -> str:
    """Return what a way of running is called."""
    return group_title(dict(zip(WAY, way, strict=True)) | {"suite": "", "arch": ""})
