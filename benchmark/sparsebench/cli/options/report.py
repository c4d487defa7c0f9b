"""The options of ``sparsebench report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command, add_json, add_out, add_own_files, add_selection, several
from .types import path, results


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "report", "write tables, leaderboard and figures from results")
    where = command.add_argument_group("where from and to")
    where.add_argument(
        "--results",
        type=results,
        default=Path("runs"),
        metavar="DIR",
        help="a results folder, a tidy CSV file, or `published`, the paper's results (default: runs/)",
    )
    add_out(where, "report")
    where.add_argument(
        "--html",
        type=path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="also write everything as one page that needs no network (default: report.html in the folder)",
    )
    where.add_argument("--open", action="store_true", help="show the page in a browser; implies --html")
    add_json(where)
    add_selection(command, "which results (default: all; references stay)", runs=True, suite=False)
    beside = command.add_argument_group("what to show beside them")
    beside.add_argument(
        "--compare", type=results, metavar="DIR", help="other results, cell by cell: a folder, a CSV or `published`"
    )
    beside.add_argument(
        "--bench", type=path, metavar="DIR", help="measured speed: the folder that `bench` wrote (default: bench/)"
    )
    several(
        beside,
        "--column",
        metavar="NAME|FILE",
        help="a further column of the leaderboard: a name, or a Python file with your own",
    )
    figures = command.add_argument_group("how figures are drawn")
    figures.add_argument(
        "--width",
        type=width,
        metavar="INCHES",
        help="width of a figure in one column; those by task are twice as wide (default: 3.5)",
    )
    figures.add_argument(
        "--format",
        nargs="+",
        choices=("png", "pdf", "svg"),
        default=("png", "pdf"),
        help="kinds of files (default: png pdf)",
    )
    add_own_files(command, data=False).add_argument(
        "--data",
        type=path,
        metavar="DIR",
        help="with --html: where data sets live, for class names and images (default: embedded tasks alone)",
    )


def width(text: str) -> float:
    """Return the width of a figure."""
    value = float(text)
    if not 2.0 <= value <= 20.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 2 and 20 inches")
    return value
