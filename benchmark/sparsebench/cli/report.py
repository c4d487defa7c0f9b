"""``sparsebench report``: tables, leaderboard and figures from results."""

from __future__ import annotations

import argparse

from ..report import write_report
from ..store import read_results


def main(arguments: argparse.Namespace) -> int:
    """Write the report and print what was written."""
    table = read_results(arguments.results)
    for path in write_report(table, arguments.out):
        print(path)
    return 0
