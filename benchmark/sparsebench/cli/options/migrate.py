"""The options of ``sparsebench migrate``."""

from __future__ import annotations

import argparse

from .common import add_command
from .types import path


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "migrate", "rewrite results of an older version of sparsebench for this one")
    what = command.add_argument_group("what to rewrite")
    what.add_argument("results", nargs="+", type=path, metavar="RESULTS", help="a results folder, or a CSV file")
