"""The rows of the results table from very many record files: quickly, and with little memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from .columns import COLUMNS, KINDS, row
from .recordfile import load, preference

if TYPE_CHECKING:
    import numpy.typing as npt

Rows: TypeAlias = "dict[str, npt.NDArray[Any]]"
"""Column to values, of equal lengths: objects (str, int or None) for texts and integers, doubles for numbers."""

_CHUNK = 256
"""Records between one move of their values into the columns and the next."""


def gather(paths: Iterable[str], columns: Sequence[str] = COLUMNS) -> Rows:
    """Return one row per record key from record files, in no order; of several files of a key the preferred counts.

    Parameters
    ----------
    paths : iterable of str
        Record files. A damaged one gives a warning and is left out.
    columns : sequence of str
        The columns to return.

    Raises
    ------
    ResultsError
        If a record is of a newer schema than this version reads.
    """
    import numpy as np

    lists: dict[str, list[Any]] = {name: [] for name in columns}
    shared: dict[str, str] = {}  # one object for equal texts: records repeat most of them
    places: dict[str, tuple[int, str]] = {}  # record key to its row, and the file that it is from
    superseded: list[int] = []
    chunk: list[dict[str, Any]] = []
    count = 0
    for path in paths:
        record = load(path)
        if record is None:
            continue
        values = row(record)
        key = values["record_key"]
        if key in places:  # a second file of a record is rare: only then are the two compared
            at, other = places[key]
            former = load(other)
            if former is not None and preference(former, other) >= preference(record, path):
                continue
            superseded.append(at)
        places[key] = count, path
        count += 1
        chunk.append(values)
        if len(chunk) == _CHUNK:
            _move(chunk, lists, shared)
    _move(chunk, lists, shared)
    rows: Rows = {}
    for name in columns:  # one after the other: a list is dropped as soon as its array is made
        rows[name] = np.delete(_array(lists.pop(name), KINDS[name]), superseded)
    return rows


def _move(chunk: list[dict[str, Any]], lists: dict[str, list[Any]], shared: dict[Any, Any]) -> None:
    """Append the values of some records to the columns, one column at a time: that is quicker than value by value."""
    for name, values in lists.items():
        new = [record.get(name) for record in chunk]
        values.extend(map(shared.setdefault, new, new) if KINDS[name] == "text" else new)
    chunk.clear()


def _array(values: list[Any], kind: str) -> npt.NDArray[Any]:
    import numpy as np

    if kind == "number":
        return np.array(values, dtype=np.float64)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
