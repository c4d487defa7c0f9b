"""Curate runs: results folders, and what was curated before, into one tidy CSV file.

Of a run's records the one that started last counts. Runs of older weights, splits or hyperparameters, which a report
would leave out, are left out here.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common import CURATED, run_script, shown
from sparsebench.report import SupersededWarning
from sparsebench.report.aggregate import current
from sparsebench.schema import ResultsError
from sparsebench.store import read_results, tidy, write_curated

if TYPE_CHECKING:
    import pandas as pd


def merge(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the current runs of several tidy tables, each once, as one tidy table.

    Rows without a run id (of a published file) are kept as they are, but for exact repetitions.
    """
    import pandas as pd

    together = tidy(pd.concat(list(tables), ignore_index=True)).drop_duplicates()
    when = pd.to_datetime(together["started"], format="ISO8601", utc=True)
    runs = together.assign(_when=when).sort_values("_when", na_position="first", kind="stable").drop(columns="_when")
    known = runs["run_id"].notna()
    once = tidy(pd.concat([runs[~known], runs[known].drop_duplicates("run_id", keep="last")], ignore_index=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SupersededWarning)
        return tidy(current(once))


def refuse_failed(table: pd.DataFrame) -> None:
    """Refuse a table with failed runs.

    Raises
    ------
    ResultsError
        If there is one; the message names the first.
    """
    failed = table[table["status"] == "failed"]
    if len(failed):
        first = failed.iloc[0]
        cell = f"{first['checkpoint']} · {first['task']} · {first['mode']} · seed {first['seed']}"
        raise ResultsError(
            f"{len(failed)} of the runs failed, the first is {cell}", "run them again, or give --keep-failed"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Merge and write."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help="a results folder or a tidy CSV file")
    parser.add_argument("--out", type=Path, default=CURATED, metavar="FILE", help="the curated file; its runs are kept")
    parser.add_argument("--fresh", action="store_true", help="don't keep the runs that are in the curated file")
    parser.add_argument("--keep-failed", action="store_true", help="take failed runs, too")
    arguments = parser.parse_args(argv)
    sources = list(arguments.results)
    if arguments.out.exists() and not arguments.fresh:
        sources.insert(0, arguments.out)
    tables = [read_results(path) for path in sources]
    merged = merge(tables)
    if not arguments.keep_failed:
        refuse_failed(merged)
    write_curated(merged, arguments.out)
    dropped = sum(map(len, tables)) - len(merged)
    print(f"{shown(arguments.out)}: {len(merged)} runs ({dropped} repeated or superseded ones left out)")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
