"""The options of ``sparsebench cancel``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command
from .types import path


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "cancel", "take jobs that were submitted to Slurm out of its queue")
    command.add_argument(
        "submission", nargs="*", metavar="SUBMISSION", help="a submission or plan (default: all of the results folder)"
    )
    command.add_argument("--results", type=path, default=Path("runs"), metavar="DIR", help="records (default: runs/)")
