"""The options of ``sparsebench compare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command
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
    closer = command.add_argument_group("more selectors (needed where the results have several)")
    closer.add_argument("--mode", metavar="NAME", help="linear, full or upstream")
    closer.add_argument("--tasks", nargs="+", metavar="TASK", help="tasks or patterns (default: all that both ran)")
    closer.add_argument("--probe", metavar="NAME", help="linear mode's classifier")
    closer.add_argument("--protocol", metavar="NAME", help="the protocol, as tables name it")
    closer.add_argument("--replicate", type=int, metavar="N", help="one upstream training alone (default: all)")
    closer.add_argument(
        "--random-tasks", action="store_true", help="let the interval cover other tasks of this kind, too"
    )
