"""The leaderboard: one line per entry and group, a pure function of records and predictions, without timings.

The same runs in any order give the same bytes: columns and rows have one order, numbers six decimals, and the
bootstrap's seed is fixed. With 95 % confidence the true ranks of all entries of a group whose intervals have the same
``scope`` lie between their ``rank_low`` and ``rank_high``; ``ranked`` is how many these are. An entry that lacks tasks,
a reference or an interval has no rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import extensions
from ..common import files
from ..schema import InputError, ResultsError
from .aggregate import Aggregate, aggregate, mode_order

if TYPE_CHECKING:
    import pandas as pd

    from ..store.classes import Reader

DECIMALS = 6
_RANKS = ("rank_low", "rank_high", "ranked")

_OURS = {name: one for name, one in extensions.known("columns").items() if one.always}
COLUMNS: tuple[str, ...] = tuple(name for name, one in _OURS.items() if not one.sparse)
"""The columns before those of the tasks: ``acc_<task>`` and ``sd_<task>`` for each task, sorted. Those that are
declared as sparse are among them where an entry has a value."""


def leaderboard(frame: pd.DataFrame, predictions: Reader | None = None, more: Sequence[str] = ()) -> pd.DataFrame:
    """Return the leaderboard of a tidy results table, its numbers rounded to :data:`DECIMALS`.

    ``more`` are the names of further columns (``sparsebench list columns``), which come after :data:`COLUMNS`. With
    ``predictions`` (:func:`sparsebench.store.classes.classes_reader`) intervals cover test images.

    Groups are sorted by mode (linear first), protocol, probe, suite and architecture; lines by completeness, relative
    error, mean accuracy and id.
    """
    return leaderboard_of(aggregate(frame, predictions=predictions), more)


def leaderboard_of(statistics: Aggregate, more: Sequence[str] = ()) -> pd.DataFrame:
    """Return the leaderboard of statistics that are there already; see :func:`leaderboard`.

    Raises
    ------
    InputError
        If a further column isn't known, or what it declares fails.
    """
    import pandas as pd

    tasks = statistics.tasks
    values = {name: _value_of(name) for name in _OURS} | {name.partition("@")[0]: _value_of(name) for name in more}
    names = list(values)
    rows = []
    groups = sorted(statistics.groups(), key=lambda item: group_order(item[0]))
    for _, part in groups:
        for line in part.lines:
            row = {name: value(line, part) for name, value in values.items()}
            for task in tasks:
                cell = part.cell(line["checkpoint"], task)
                found = (math.nan, math.nan) if cell is None else (cell.mean, cell.sd)
                row[f"acc_{task}"], row[f"sd_{task}"] = found
            rows.append(row)
    columns = [*names, *(name for task in tasks for name in (f"acc_{task}", f"sd_{task}"))]
    table = pd.DataFrame(rows, columns=columns)
    table = table.drop(columns=[name for name, one in _OURS.items() if one.sparse and not _any(table[name])])
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].round(DECIMALS) + 0.0  # no negative zero
    for name in _RANKS:
        table[name] = table[name].astype("Int64")
    return table


def to_csv(table: pd.DataFrame) -> str:
    """Return the leaderboard's text."""
    from ..store.csvfile import to_csv as csv_text

    return csv_text(list(table.columns), ([_field(v) for v in row] for row in table.itertuples(index=False, name=None)))


def write_leaderboard(frame: pd.DataFrame, file: Path, predictions: Reader | None = None) -> None:
    """Write the leaderboard of a tidy results table as CSV, atomically; see :func:`leaderboard`.

    Raises
    ------
    ResultsError
        If the file can't be written.
    """
    try:
        files.write_text(file, to_csv(leaderboard(frame, predictions)))
    except OSError as error:
        raise ResultsError(f"can't write {str(file)!r}: {error.strerror or error}") from error


def _value_of(name: str) -> Callable[[Mapping[str, Any], Aggregate], Any]:
    """Return what gives a column's value; what it raises becomes an error that names the column."""
    column: extensions.LeaderboardColumn = extensions.get("columns", name)
    if (missing := column.missing()) is not None:
        raise InputError(f"column {name!r} can't be made here", missing)
    work = extensions.load(column.value)
    if column.always:
        return work

    def value(line: Mapping[str, Any], part: Aggregate) -> Any:
        try:
            return work(line, part)
        except Exception as error:  # somebody else's function may raise anything
            raise InputError(
                f"column {name!r} fails for {line['checkpoint']}: {type(error).__name__}: {error}", "correct it"
            ) from error

    return value


def _any(values: pd.Series) -> bool:
    """Return whether there is a value that isn't missing or empty."""
    return bool((values.notna() & (values != "")).any())


def group_order(group: dict[str, str]) -> tuple[int, list[str]]:
    """Return what groups are sorted by: mode, protocol, probe, suite, architecture."""
    return mode_order(group["mode"]), [group[name] for name in ("protocol", "probe", "suite", "arch")]


def _field(value: Any) -> Any:
    import pandas as pd

    if value is None or value is pd.NA:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return None if math.isnan(value) else f"{value:.{DECIMALS}f}"
    return value
