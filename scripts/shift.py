"""Write the tables and figures of further test sets and of few images per class, from results folders.

``shift.csv``, ``shift.md``, ``fewshot.csv`` and ``fewshot.md`` go into one folder, by default results/mini, and the
figures (``severity*``, ``shots*``) into its ``figures/``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common import CURATED, run_script, shown
from sparsebench.report.further import Further, write_shift, write_shots
from sparsebench.schema import ResultsError, RunRecord
from sparsebench.store import Predictions, Store, frame
from sparsebench.store.further import Kept, further_frame, further_reader


def reader_of(stores: dict[Path, list[RunRecord]]) -> Kept:
    """Return the reader of what runs of several folders predicted on further test sets."""
    readers = {
        record.record_key: reader
        for root, records in stores.items()
        for reader in [further_reader(records, root)]
        for record in records
    }

    def kept(key: str, test: str) -> Predictions | None:
        return readers[key](key, test) if key in readers else None

    return kept


def main(argv: Sequence[str] | None = None) -> int:
    """Write them all, and print each file."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS", help="a results folder with its predictions"
    )
    parser.add_argument("--out", type=Path, default=CURATED.parent, metavar="DIR", help="where to write")
    arguments = parser.parse_args(argv)
    stores = {root: Store(root).read() for root in arguments.results}
    records = [record for found in stores.values() for record in found]
    table, further = frame(records), Further(further_frame(records), reader_of(stores))
    arguments.out.mkdir(parents=True, exist_ok=True)
    written = []
    for path in [*write_shift(table, arguments.out, further), *write_shots(table, arguments.out)]:
        if path.suffix not in (".csv", ".md"):
            (arguments.out / "figures").mkdir(exist_ok=True)
            path = path.rename(arguments.out / "figures" / path.name)
        written.append(path)
        print(shown(path))
    if not written:
        raise ResultsError(
            "no run was scored on a further test set or from few images", "run with --shift, or --probe fewshot"
        )
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
