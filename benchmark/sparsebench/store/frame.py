"""The one tidy table of results, one row per run, and the one reader for results folders and curated files.

pandas is imported inside the functions, so that reading records alone stays quick.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import files
from ..common.paths import root_file
from ..schema import MODES, VERDICTS, ResultsError, RunRecord
from .columns import COLUMNS, FRACTIONS, KINDS, REQUIRED, SORT_KEYS, SPARSE, Kind, row
from .csvfile import read_csv, to_csv
from .records import Store

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = "published"
"""The word that means the paper's results, which come with the package."""

_DTYPES = {"text": "string", "integer": "Int64", "number": "float64"}


def frame(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Return the tidy table of records: :data:`COLUMNS`, one row per run, sorted, accuracies as fractions."""
    import pandas as pd

    rows = [row(record) for record in records]
    return tidy(pd.DataFrame({c: pd.Series([r.get(c) for r in rows], dtype=object) for c in COLUMNS}))


def gather(results: Path) -> pd.DataFrame:
    """Return the tidy table of a results folder's records.

    Raises
    ------
    ResultsError
        If the folder can't be listed, or a record is of a newer schema than this version reads.
    """
    import pandas as pd

    rows = Store(results).rows()
    return tidy(pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in rows.items()}))


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with exactly :data:`COLUMNS` and their types, sorted, numbered from 0.

    Columns that it lacks are empty, others are dropped; an empty text is a missing one. Rows keep no trace of their
    former order: what sorts alike is sorted by all its values.
    """
    import pandas as pd

    columns = {}
    for name in COLUMNS:
        series = table[name] if name in table else pd.Series([None] * len(table), index=table.index, dtype=object)
        columns[name] = series.astype(_DTYPES[KINDS[name]])  # type: ignore[call-overload]
        if KINDS[name] == "text":
            columns[name] = columns[name].replace("", pd.NA)
    result = pd.DataFrame(columns, columns=list(COLUMNS))
    keys = list(SORT_KEYS)
    if result.duplicated(keys).any():
        keys += [c for c in COLUMNS if c not in SORT_KEYS]
    return result.sort_values(keys, na_position="first", kind="stable").reset_index(drop=True)


def write_curated(table: pd.DataFrame, file: Path) -> None:
    """Write a tidy table as one CSV file, atomically; equal tables give equal bytes, and it reads back equal.

    Raises
    ------
    ResultsError
        If the file can't be written.
    """
    import pandas as pd

    result = tidy(table)
    names = [name for name in COLUMNS if name not in SPARSE or result[name].notna().any()]
    columns = [[None if value is pd.NA else value for value in result[c].tolist()] for c in names]
    try:
        files.write_text(file, to_csv(names, zip(*columns, strict=True)))
    except OSError as error:
        raise ResultsError(f"can't write {str(file)!r}: {error.strerror or error}") from error


def read_results(path: Path | str) -> pd.DataFrame:
    """Read results as the tidy table: a results folder, a folder of curated CSV files, or one curated file.

    In a folder with a subfolder ``records`` the records count; in any other one all its ``*.csv`` that are tidy tables
    (so a leaderboard beside them is passed over). The text :data:`PUBLISHED` always stands for the paper's results; a
    folder of that name is ``./published``, or a :class:`~pathlib.Path`.

    Raises
    ------
    ResultsError
        If there is nothing at ``path``, no record in it, or a file that is no table of results.
    """
    path = root_file("results/published/runs.csv") if path == PUBLISHED else Path(path)
    if path.is_file():
        return _read_curated(path)
    if not path.is_dir():
        raise ResultsError(f"there are no results at {str(path)!r}", "give a results folder or a tidy CSV file")
    if (path / "records").is_dir():
        table = gather(path)
        if table.empty:
            raise ResultsError(f"the results folder {str(path)!r} holds no record", "do a run first: sparsebench run")
        return table
    return _read_folder(path)


def _read_folder(path: Path) -> pd.DataFrame:
    """Read the curated files of a folder into one table in which a run is once."""
    import pandas as pd

    found = sorted(path.glob("*.csv"))
    tables = [_read_curated(file) for file in found if not _missing(read_csv(file)[0])]
    if not tables:
        if len(found) == 1:
            return _read_curated(found[0])  # raises, and says what is missing
        raise ResultsError(
            f"{str(path)!r} holds neither records nor a tidy CSV file", "do a run first: sparsebench run"
        )
    table = tidy(pd.concat(tables, ignore_index=True)).drop_duplicates()
    keys = table["record_key"].fillna(table["run_id"])
    twice = keys.notna() & keys.duplicated()
    if twice.any():
        raise ResultsError(
            f"{str(path)!r} holds the run {keys[twice].iloc[0]} twice, with different values", "give one of its files"
        )
    return table.reset_index(drop=True)


def _missing(header: list[str]) -> list[str]:
    return [name for name in REQUIRED if name not in header]


def _read_curated(path: Path) -> pd.DataFrame:
    """Read one curated file and check its values."""
    import pandas as pd

    header, body = read_csv(path)
    if missing := _missing(header):
        raise ResultsError(
            f"{str(path)!r} is not a table of results: it lacks the columns {', '.join(missing)}",
            "a tidy file has one row per run; see sparsebench.store.COLUMNS",
        )
    if len(set(header)) != len(header):
        raise ResultsError(f"{str(path)!r} names a column twice")
    values: dict[str, list[Any]] = {}
    for name in COLUMNS:
        if name in header:
            at = header.index(name)
            values[name] = [_parse(fields[at], name, path, line) for line, fields in enumerate(body, start=2)]
    if "status" not in values:
        values["status"] = ["failed" if a is None else "ok" for a in values["accuracy"]]
    if "metric" not in values:
        values["metric"] = ["top1"] * len(body)
    return tidy(pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in values.items()}))


def _parse(text: str, name: str, path: Path, line: int) -> Any:
    """Return one field's value.

    Raises
    ------
    ResultsError
        If it is none for its column.
    """
    if text == "":
        if name in REQUIRED and name != "accuracy":
            raise ResultsError(f"{str(path)!r}, row {line}: {name} is empty")
        return None
    try:
        value = _convert(text, KINDS[name])
    except ValueError:
        raise ResultsError(f"{str(path)!r}, row {line}: {name} is {text!r}, not a number") from None
    if name in FRACTIONS and isinstance(value, float) and not 0.0 <= value <= 1.0:
        raise ResultsError(
            f"{str(path)!r}, row {line}: {name} is {text}, not between 0 and 1", "store fractions, not percent"
        )
    allowed = {"mode": MODES, "status": ("ok", "failed"), "verdict": VERDICTS}.get(name)
    if allowed and value not in allowed:
        raise ResultsError(f"{str(path)!r}, row {line}: {name} is {text!r}, not one of {', '.join(allowed)}")
    return value


def _convert(text: str, kind: Kind) -> str | int | float | None:
    if kind == "text":
        return text
    if kind == "integer":
        return int(text)
    number = float(text)
    return None if math.isnan(number) else number
