"""The options of ``sparsebench verify``."""

from __future__ import annotations

import argparse

from .common import add_command, add_json
from .types import path, positive


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "verify", "check a bundle of results without trusting who made it")
    what = command.add_argument_group("what to check")
    what.add_argument("bundle", type=path, metavar="BUNDLE", help="a file that export-results has written")
    add_json(what)
    add_verification(command)


def add_verification(command: argparse.ArgumentParser) -> None:
    """Add how bundles are verified."""
    how = command.add_argument_group("how to check")
    how.add_argument(
        "--rerun",
        type=positive,
        default=0,
        metavar="N",
        help="run N linear runs again, drawn at random, of embedded checkpoints and of --checkpoint (default: none)",
    )
    how.add_argument(
        "--checkpoint",
        action="append",
        type=path,
        default=[],
        metavar="FILE",
        help="a checkpoint that the bundle has runs of; may be repeated (with it, --rerun 1 is the default)",
    )
    how.add_argument("--data", type=path, metavar="DIR", help="where data sets live (default: embedded tasks alone)")
    how.add_argument(
        "--tasks-dir", action="append", type=path, default=[], metavar="DIR", help="a folder with more tasks"
    )
