"""The options of ``sparsebench report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command, add_json, add_selection, several
from .types import path, results


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "report", "write tables, leaderboard and figures from results")
    add_selection(command, "which results (default: all; references stay)", runs=True, suite=False)
    add_json(command)
    command.add_argument(
        "--results",
        type=results,
        default=Path("runs"),
        metavar="DIR",
        help="a results folder or tidy CSV (default: runs/), or `published`: the paper's results, which come with"
        " sparsebench (a folder of that name is ./published)",
    )
    command.add_argument(
        "--compare",
        type=results,
        metavar="DIR",
        help="set the results beside these, cell by cell: `published`, a results folder or tidy CSV",
    )
    command.add_argument(
        "--out",
        "--output",
        dest="out",
        type=path,
        default=Path("report"),
        metavar="DIR",
        help="where to (default: report/)",
    )
    command.add_argument(
        "--bench",
        type=path,
        metavar="DIR",
        help="what `sparsebench bench` measured, to stand beside accuracy (default: the folder bench beside the"
        " results, if there)",
    )
    several(
        command,
        "--column",
        metavar="NAME|FILE",
        help="a further column of the leaderboard: one of `sparsebench list columns`, or a Python file",
    )
    command.add_argument(
        "--tasks-dir", action="append", type=path, default=[], metavar="DIR", help="more tasks and suites"
    )
