"""Print the curated results as one short Markdown table: a row per method, upstream and transfer accuracy by sparsity.

The README shows it; a test holds the two together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import CURATED, run_script
from sparsebench.registry.names import method_title
from sparsebench.report.aggregate import aggregate
from sparsebench.report.style import method_order, percent
from sparsebench.store import read_results

if TYPE_CHECKING:
    import pandas as pd

SPARSITIES = (0.8, 0.9, 0.95)
COLUMNS = (
    ("upstream_top1", "linear", "sgd"),
    ("mean_accuracy", "linear", "sgd"),
    ("mean_accuracy", "linear", "lbfgs"),
    ("mean_accuracy", "full", ""),
)
"""What is shown: a column of the summary, its mode and probe."""
TITLES = ("Upstream", "SGD", "L-BFGS", "Full")


def overview(runs: pd.DataFrame) -> list[str]:
    """Return the table's lines: the dense reference first, then the methods; N:M patterns and twins are left out."""
    summary = aggregate(runs).summary
    lines = [{str(k): v for k, v in line.items()} for line in summary.to_dict("records") if not line["nm"]]
    dense = [line for line in lines if line["method"] == "dense" and not line["twin_of"]]
    names = [f"{title} {100 * s:g}" for title in TITLES for s in SPARSITIES]
    rows = [
        ["Dense", *(f"{_value(dense, 0.0, *c)}" if i == 1 else "" for c in COLUMNS for i in range(len(SPARSITIES)))]
    ]
    for method in sorted({line["method"] for line in lines} - {"dense"}, key=method_order):
        own = [line for line in lines if line["method"] == method]
        rows.append([method_title(method), *(_value(own, s, *column) for column in COLUMNS for s in SPARSITIES)])
    return ["| " + " | ".join(row) + " |" for row in (["Method", *names], ["---", *["---:"] * len(names)], *rows)]


def _value(lines: list[dict[str, Any]], sparsity: float, name: str, mode: str, probe: str) -> str:
    same = [line for line in lines if (line["mode"], line["probe"]) == (mode, probe)]
    found = [line[name] for line in same if abs(line["sparsity"] - sparsity) < 1e-9]
    return percent(found[0], 1) if found else "–"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", nargs="?", type=Path, default=CURATED, help="a curated CSV or a results folder")
    print("\n".join(overview(read_results(parser.parse_args(argv).runs))))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
