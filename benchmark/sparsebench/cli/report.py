"""``sparsebench report``: tables, leaderboard and figures from results, and how they stand beside published ones."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..registry import load_tasks
from ..report import bench_beside, compare, read_bench, read_doubts, render_comparison, write_report
from ..store import read_results
from ..store.frame import PUBLISHED


def main(arguments: argparse.Namespace) -> int:
    """Print the comparison, if one was asked for; write the report and print each file as it is written."""
    table = read_results(arguments.results)
    registry = load_tasks(arguments.tasks_dir)
    comparison = None
    if arguments.compare:
        comparison = compare(table, read_results(arguments.compare), read_doubts(arguments.compare))
        print(render_comparison(comparison, colour=sys.stdout.isatty()))
    beside = None if arguments.results == PUBLISHED else bench_beside(arguments.results)
    folder = arguments.bench or beside
    write_report(table, arguments.out, comparison, _print, None if folder is None else read_bench(folder), registry)
    return 0


def _print(path: Path) -> None:
    print(path, flush=True)
