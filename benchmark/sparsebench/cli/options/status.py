"""The options of ``sparsebench status``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command, add_json, several
from .types import path, seconds


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "status", "show what is done, running, queued, failed, lost and missing in a results folder"
    )
    command.add_argument("--results", type=path, default=Path("runs"), metavar="DIR", help="records (default: runs/)")
    command.add_argument("--watch", action="store_true", help="show it anew until nothing runs or is queued any more")
    command.add_argument(
        "--interval", type=seconds, default=5.0, metavar="S", help="seconds between two looks (default: 5)"
    )
    pick = command.add_argument_group("which cells (default: all; names or patterns)")
    several(pick, "--checkpoint", "--model", dest="checkpoint", metavar="ID", help="checkpoints")
    several(pick, "--task", "--dataset", dest="task", metavar="ID", help="tasks")
    several(pick, "--mode", help="linear or full")
    add_json(command)
