"""The options of ``sparsebench compare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command
from .types import results


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "compare", "say whether one checkpoint transfers better than another, and how sure it is"
    )
    for name, metavar in (("first", "A"), ("second", "B")):
        command.add_argument(
            name,
            metavar=metavar,
            help="a checkpoint's id, a glob (the mean over what it matches), a results folder or `published`",
        )
    command.add_argument(
        "--results",
        type=results,
        default=Path("runs"),
        metavar="DIR",
        help="where ids and globs are looked up: a results folder, tidy CSV or `published` (default: runs/)",
    )
    command.add_argument("--mode", help="linear, full or upstream, where there are several")
    command.add_argument("--probe", help="of linear mode, where there are several: sgd, lbfgs, ...")
    command.add_argument("--protocol", metavar="NAME", help="where there are several")
    command.add_argument("--tasks", nargs="+", metavar="TASK", help="ids or globs (default: all that both ran)")
    command.add_argument(
        "--replicate", type=int, metavar="N", help="one upstream training only (default: all there are)"
    )
    command.add_argument(
        "--random-tasks",
        action="store_true",
        help="let the interval cover the choice of tasks: another task of this kind",
    )
    command.add_argument("--json", action="store_true", help="print JSON; numbers are fractions")
