"""The options of ``sparsebench doctor``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command, add_json
from .types import path


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "doctor", "show what this machine has of what sparsebench can use, and what to do")
    command.add_argument("--results", type=path, default=Path("runs"), metavar="DIR", help="records (default: runs/)")
    add_json(command)
