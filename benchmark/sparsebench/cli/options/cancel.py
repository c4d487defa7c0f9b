"""The options of ``sparsebench cancel``."""

from __future__ import annotations

import argparse

from .common import add_command, add_records


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "cancel", "cancel the Slurm jobs of a results folder")
    what = command.add_argument_group("what to cancel")
    what.add_argument(
        "submission", nargs="*", metavar="SUBMISSION", help="a submission or plan (default: all of the results folder)"
    )
    add_records(what)
