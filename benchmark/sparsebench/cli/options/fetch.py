"""The options of ``sparsebench fetch``."""

from __future__ import annotations

import argparse

from .common import add_command, add_registry, add_selection
from .types import positive, seconds


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "fetch", "fetch published checkpoints and data sets, to run without a network later"
    )
    add_selection(command, "for what (the selectors of run; leaving one out means all that the suite selects)")
    part = command.add_mutually_exclusive_group()
    part.add_argument("--checkpoints-only", action="store_true", help="no data sets")
    part.add_argument("--tasks-only", action="store_true", help="no checkpoints")
    add_registry(command)
    how = command.add_argument_group("how")
    how.add_argument(
        "--timeout",
        type=seconds,
        metavar="S",
        help="seconds without an answer, or below 1 KiB per second, that end a try (default: 60)",
    )
    how.add_argument("--tries", type=positive, metavar="N", help="tries an address (default: 5)")
    how.add_argument(
        "--dry-run", action="store_true", help="list what is here, what isn't and where it is; fetch nothing"
    )
