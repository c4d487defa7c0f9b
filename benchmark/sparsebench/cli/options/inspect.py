"""The options of ``sparsebench inspect``."""

from __future__ import annotations

import argparse

from .common import add_command, add_device, add_format, add_json, add_offline, add_own_files


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "inspect", "show a checkpoint: provenance, sparsity by layer, size, FLOPs")
    what = command.add_argument_group("what to look at")
    what.add_argument("checkpoint", metavar="CHECKPOINT", help="a registered checkpoint, or a file (FILE#ema)")
    what.add_argument("--arch", metavar="NAME", help="a file's architecture, where it doesn't say it itself")
    add_format(what)
    add_json(what)
    add_offline(what)
    claim = command.add_argument_group("whether its published accuracy holds")
    claim.add_argument(
        "--verify", action="store_true", help="test its own head on its own task, whose images lie in --data"
    )
    claim.add_argument(
        "--task", metavar="ID", help="that task, where the checkpoint doesn't say what it was trained on"
    )
    add_device(claim)
    add_own_files(command)
