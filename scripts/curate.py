"""Curate runs: results folders, and what was curated before, into one tidy CSV file.

Of a run's records the one that started last counts. Where a name stands for several weights, splits or
hyperparameters, the ones that finished last count; a report would show them all. Predicted classes, where they were
kept, go into ``predictions.npz`` beside the file, so that a report's intervals cover test images.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common import CURATED, run_script, shown
from sparsebench.schema import ResultsError
from sparsebench.store import Predictions, read_results, tidy, write_curated
from sparsebench.store.classes import classes_reader
from sparsebench.store.curated import FILE, write_classes

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
    key = runs["record_key"].fillna(runs["run_id"])
    once = tidy(runs[key.isna() | ~key.duplicated(keep="last")])
    newest = _newest(once, ["checkpoint", "arch"], ["weights_sha256", "mask_sha256"])
    cell = ["checkpoint", "arch", "task", "mode", "probe", "protocol"]
    return tidy(_newest(newest, cell, ["split_sha256", "transform_sha256", "protocol_sha256"]))


def _newest(table: pd.DataFrame, names: list[str], contents: list[str]) -> pd.DataFrame:
    """Keep, of the runs that go by the same names, those of the contents that finished last."""
    text = table[[*names, *contents, "started"]].astype("string").fillna("")
    version = text[contents].agg("/".join, axis=1)
    finished = text.assign(version=version)[table["status"] == "ok"].sort_values(["started", "version"])
    last = finished.groupby(names, sort=False)["version"].last().rename("last").reset_index()
    wanted = text[names].merge(last, on=names, how="left")["last"].set_axis(table.index)
    return table[wanted.isna() | (wanted == version)]


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


def predictions_of(sources: Iterable[Path], keys: set[str]) -> dict[str, Predictions]:
    """Return the predicted classes of runs, of those that kept them."""
    return {key: own.without_logits() for source in sources for key, own in classes_reader(source, strict=True)(keys)}


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
    kept = predictions_of(sources, set(merged["record_key"].dropna()))
    write_curated(merged, arguments.out)
    beside = arguments.out.parent / FILE
    if kept:
        written = write_classes(beside, kept.items())
        print(f"{shown(beside)}: predicted classes of {written} runs, {beside.stat().st_size / 2**20:.2f} MiB")
    dropped = sum(map(len, tables)) - len(merged)
    print(f"{shown(arguments.out)}: {len(merged)} runs ({dropped} repeated or superseded ones left out)")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
