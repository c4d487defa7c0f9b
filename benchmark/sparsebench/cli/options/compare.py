"""The options of ``sparsebench compare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command, add_narrowing
from .types import results


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "compare", "test whether one checkpoint transfers better than another")
    what = command.add_argument_group("what to compare")
    for name, metavar in (("first", "A"), ("second", "B")):
        what.add_argument(
            name,
            metavar=metavar,
            help="a checkpoint, a pattern (their mean), a results folder or `published`",
        )
    what.add_argument(
        "--results",
        type=results,
        default=Path("runs"),
        metavar="DIR",
        help="where checkpoints are looked up: a results folder, a CSV or `published` (default: runs/)",
    )
    what.add_argument("--json", action="store_true", help="print JSON; numbers are fractions")
    closer = add_narrowing(command)
    closer.add_argument(
        "--random-tasks", action="store_true", help="let the interval cover other tasks of this kind, too"
    )
