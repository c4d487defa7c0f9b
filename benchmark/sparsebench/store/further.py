"""Results on further test sets as one table: one row per run and test set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..schema import ResultsError, RunRecord
from .columns import row
from .predictions import Predictions, warn_damaged
from .records import Store

if TYPE_CHECKING:
    import pandas as pd

FURTHER_COLUMNS: tuple[str, ...] = (
    "run_id", "record_key", "numerics", "checkpoint", "method", "sparsity", "reference", "replicate", "task", "mode",
    "probe", "protocol", "seed", "metric", "test", "fingerprint", "corruption", "severity", "accuracy",
    "clean_accuracy", "top1", "mean_per_class", "ece", "nll", "n_test",
)  # fmt: skip
"""The columns: labels as in the table of results; accuracies are fractions, ``clean_accuracy`` that on the task's test.
"""


def further_frame(results: Path | str | Iterable[RunRecord]) -> pd.DataFrame:
    """Return what runs scored on further test sets, one row per run and test set, sorted.

    Parameters
    ----------
    results : Path or str, or iterable of RunRecord
        A results folder, or its records; anything else than a folder with records has none.

    Raises
    ------
    ResultsError
        If the folder can't be listed, or a record is of a newer schema than this version reads.
    """
    import pandas as pd

    if isinstance(results, (str, Path)):
        folder = Path(results)
        records: Iterable[RunRecord] = Store(folder).read() if (folder / "records").is_dir() else []
    else:
        records = results
    rows = [found for record in records for found in _rows(record)]
    table = pd.DataFrame(rows, columns=list(FURTHER_COLUMNS))
    keys = ["checkpoint", "task", "mode", "probe", "protocol", "seed", "record_key", "test"]
    return table.sort_values(keys, na_position="first", kind="stable").reset_index(drop=True)


def _rows(record: RunRecord) -> Iterable[tuple[Any, ...]]:
    if record.status != "ok" or not record.tests:
        return
    run = row(record)
    for name, test in record.tests.items():
        own = vars(test) | {
            "test": name,
            "accuracy": getattr(test, record.spec.metric),
            "clean_accuracy": run["accuracy"],
        }
        yield tuple(own[column] if column in own else run.get(column) for column in FURTHER_COLUMNS)


CLEAN = ""
"""In place of a test set's name: the task's own test images."""

Kept = Callable[[str, str], Predictions | None]
"""From a record key and a test set's name to what the run predicted on it; None where that wasn't kept."""


def further_reader(results: Path | str | Iterable[RunRecord], root: Path | None = None) -> Kept:
    """Return the reader of what runs predicted on further test sets; a damaged file gives a warning and None.

    Parameters
    ----------
    results : Path or str, or iterable of RunRecord
        As for :func:`further_frame`.
    root : Path, optional
        The results folder, where records are given.
    """
    if isinstance(results, (str, Path)):
        root = Path(results)
        results = Store(root).read() if (root / "records").is_dir() else []
    records = {record.record_key: record for record in results}

    def kept(key: str, test: str) -> Predictions | None:
        record = records.get(key)
        of = None if record is None else record if test == CLEAN else record.tests.get(test)
        if record is None or root is None or of is None or of.predictions is None:
            return None
        store = Store(root)
        try:
            return store.predictions(record) if test == CLEAN else store.further_predictions(record, test)
        except ResultsError as error:
            warn_damaged(error)
            return None

    return kept
