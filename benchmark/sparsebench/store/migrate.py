"""Rewrite results of schema 1 as the current schema has them: a results folder, or a curated CSV file."""

from __future__ import annotations

from pathlib import Path

from ..schema import Numerics, ResultsError
from .csvfile import read_csv
from .frame import read_results, write_curated
from .records import Store

_NUMERICS = ("device", "precision", "engine", "threads")


def migrate(path: Path) -> int:
    """Rewrite what is of schema 1 at a path, and return how many records that were.

    Each record is written before its old file is removed, so that nothing is lost where this is interrupted; again, it
    goes on. Predictions and weights stay where they are.

    Parameters
    ----------
    path : Path
        A results folder, or a curated CSV file.

    Raises
    ------
    ResultsError
        If there are no results at ``path``.
    RunError
        If something can't be written.
    """
    if path.is_file():
        return _migrate_curated(path)
    if not (path / "records").is_dir():
        raise ResultsError(f"{str(path)!r} is neither a results folder nor a file", "give the folder that runs/ is")
    store = Store(path)
    count = 0
    for record in store.of_schema_1():
        store.write(record)
        count += 1
    return count


def _migrate_curated(path: Path) -> int:
    """Give each run of a curated file its record key.

    Where something was chosen on validation, the run id has changed and the file doesn't say enough to compute it: the
    id is left empty.
    """
    if "record_key" in read_csv(path)[0]:
        return 0
    table = read_results(path)
    unknown = table["probe"].isin(["lbfgs", "ridge", "knn"]) | table["val_accuracy"].notna()
    unknown |= table["best_test"].notna()
    table.loc[unknown, "run_id"] = None
    known = table["run_id"].notna() & table["engine"].notna()
    keys = [_key(row) for row in table.loc[known, list(_NUMERICS)].to_dict("records")]
    table.loc[known, "numerics"] = keys
    table.loc[known, "record_key"] = [f"{i}-{k}" for i, k in zip(table.loc[known, "run_id"], keys, strict=True)]
    table["replicate"] = table["replicate"].fillna(0)
    write_curated(table, path)
    return int(known.sum())


def _key(row: dict[object, object]) -> str:
    return Numerics.model_validate({str(name): value for name, value in row.items()}).key
