"""The options of ``sparsebench inspect``."""

from __future__ import annotations

import argparse

from .common import add_command, add_format, add_offline, add_registry


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "inspect", "show a checkpoint's provenance, measured sparsity, parameters and FLOPs"
    )
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="an id, or a file (FILE#ema: its averaged weights)")
    command.add_argument("--arch", help="a file's architecture, where it doesn't name its own")
    add_format(command)
    command.add_argument("--json", action="store_true", help="print JSON")
    add_offline(command)
    add_registry(command)
