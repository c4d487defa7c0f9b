"""The options of ``sparsebench fetch``."""

from __future__ import annotations

import argparse

from .common import add_command, add_own_files, add_selection
from .types import positive, seconds


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "fetch", "fetch checkpoints and data sets, to run without a network later")
    add_selection(command, "for what (an omitted option means every value the suite defines)")
    how = command.add_argument_group("how to fetch it")
    how.add_argument("--dry-run", action="store_true", help="show what is here and what isn't; fetch nothing")
    part = how.add_mutually_exclusive_group()
    part.add_argument("--checkpoints-only", action="store_true", help="fetch no data sets")
    part.add_argument("--tasks-only", action="store_true", help="fetch no checkpoints")
    how.add_argument("--tries", type=positive, metavar="N", help="tries per address (default: 5)")
    how.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", help="how long a server may be silent or too slow (default: 60)"
    )
    add_own_files(command)
