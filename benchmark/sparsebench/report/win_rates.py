"""How often one entry beats another: the fraction of a group's tasks on which its mean accuracy is higher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis import win_rates
from ..analysis.panels import Array
from .aggregate import Aggregate
from .cells import GROUP
from .style import group_title
from .tables import NOTHING, Field, Table

COLUMNS = (*GROUP, "checkpoint", "other", "tasks", "win_rate", "better")
_NOTES = (
    "Percent of the tasks on which the row's entry has the higher mean accuracy than the column's; equal ones count"
    " half.",
    "Bold: the simultaneous 95 % intervals of ranks show the row's relative error increase to be the lower one.",
)


@dataclass(frozen=True, eq=False)
class WinRates:
    """The win rates of one group.

    Parameters
    ----------
    group : dict of str to str
        The group.
    names : tuple of str
        The entries that ran all tasks, best mean accuracy first.
    tasks : int
        How many tasks.
    rates : ndarray, shape (entries, entries)
        Fraction of tasks on which the row's entry is better; NaN on the diagonal.
    better : ndarray of bool, shape (entries, entries)
        Whether the rank intervals show that the row's entry has the lower relative error increase.
    """

    group: dict[str, str]
    names: tuple[str, ...]
    tasks: int
    rates: Array
    better: np.ndarray


def win_rates_of(statistics: Aggregate) -> Iterator[WinRates]:
    """Yield the win rates of each group that has two complete entries."""
    for group, part in statistics.groups():
        lines = sorted((line for line in part.lines if line["complete"]), key=lambda line: -line["mean_accuracy"])
        names = tuple(str(line["checkpoint"]) for line in lines)
        if len(names) < 2:
            continue
        shown = [set(str(line["better_than"]).split()) for line in lines]
        better = np.array([[name in own for name in names] for own in shown])
        errors = errors_by_task(part, names)
        yield WinRates(group, names, errors.shape[1], win_rates(errors), better)


def errors_by_task(part: Aggregate, names: Sequence[str]) -> Array:
    """Return the mean errors of a group's complete entries, shape (entries, tasks)."""
    cells = [[part.cell(name, task) for task in part.tasks] for name in names]
    return np.array([[1.0 - cell.mean for cell in own if cell is not None] for own in cells])


def win_rates_csv(statistics: Aggregate) -> str:
    """Return one row per group and ordered pair of entries; rates are fractions."""
    from ..store.csvfile import to_csv

    rows = [
        (*found.group.values(), name, other, found.tasks, round(float(found.rates[i, j]), 6), bool(found.better[i, j]))
        for found in win_rates_of(statistics)
        for i, name in enumerate(found.names)
        for j, other in enumerate(found.names)
        if i != j
    ]
    return to_csv(COLUMNS, rows)


def win_rate_tables(statistics: Aggregate) -> list[Table]:
    """Return one matrix per group, its columns numbered as its rows are."""
    return [_table(found) for found in win_rates_of(statistics)]


def _table(found: WinRates) -> Table:
    header = ("", "Checkpoint", *(str(place) for place in range(1, len(found.names) + 1)))
    rows = []
    for i, name in enumerate(found.names):
        fields = [Field(str(i + 1)), Field(name)]
        for j, rate in enumerate(found.rates[i]):
            fields.append(Field(NOTHING if i == j else f"{100 * rate:.0f}", bool(found.better[i, j])))
        rows.append(tuple(fields))
    return Table(f"Win rates over {found.tasks} tasks: {group_title(found.group)}", header, tuple(rows), _NOTES)
