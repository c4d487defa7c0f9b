"""The rows of the results table from very many record files: quickly, and with little memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .columns import COLUMNS, KINDS, row
from .recordfile import load, preference

if TYPE_CHECKING:
    import numpy.typing as npt

Rows: TypeAlias = "dict[str, npt.NDArray[Any]]"
"""Column to values, of equal lengths: objects (str, int or None) for texts and integers, doubles for numbers."""


def gather(paths: Iterable[str]) -> Rows:
    """Return one row per record key from record files, in no order; of several files of a key the preferred counts.

    Raises
    ------
    ResultsError
        If a record is of a newer schema than this version reads.
    """
    import numpy as np

    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    shared: dict[Any, Any] = {}  # one object for equal texts: records repeat most of them
    best: dict[str, tuple[tuple[bool, str, str], int]] = {}
    count = 0
    for text in paths:
        path = Path(text)
        record = load(path)
        if record is None:
            continue
        values = row(record)
        key, rank = values["record_key"], preference(record, path)
        if key in best and best[key][0] >= rank:
            continue
        best[key] = rank, count
        for name, column in columns.items():
            value = values.get(name)
            column.append(shared.setdefault(value, value) if type(value) is str else value)
        count += 1
    keep = None if len(best) == count else [at for _, at in best.values()]
    rows: Rows = {}
    for name in COLUMNS:  # one after the other: a list is dropped as soon as its array is made
        array = _array(columns.pop(name), KINDS[name])
        rows[name] = array if keep is None else array[np.array(keep, dtype=np.int64)]
    return rows


def _array(values: list[Any], kind: str) -> npt.NDArray[Any]:
    import numpy as np

    if kind == "number":
        return np.array(values, dtype=np.float64)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
