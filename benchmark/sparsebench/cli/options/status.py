"""The options of ``sparsebench status``."""

from __future__ import annotations

import argparse

from .common import add_command, add_json, add_records, several
from .types import seconds


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "status", "show which runs are done, running, queued, failed, lost and missing")
    look = command.add_argument_group("what to show")
    add_records(look)
    look.add_argument("--watch", action="store_true", help="show it again and again until all has ended")
    look.add_argument(
        "--interval", type=seconds, default=5.0, metavar="SECONDS", help="time between two looks (default: 5)"
    )
    add_json(look)
    pick = command.add_argument_group("which runs (default: all; names or patterns)")
    several(pick, "--checkpoint", "--model", dest="checkpoint", metavar="ID", help="those of a checkpoint")
    several(pick, "--task", "--dataset", dest="task", metavar="ID", help="those on a task")
    several(pick, "--mode", metavar="NAME", help="those in a mode: linear or full")
