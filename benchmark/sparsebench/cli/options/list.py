"""The options of ``sparsebench list``."""

from __future__ import annotations

import argparse

from ... import extensions
from .common import add_command, add_json, add_own_files, add_selection


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "list", "list what is registered, and what is missing to use it")
    what = command.add_argument_group("what to list")
    names = ("checkpoints", "tasks", "suites", *extensions.KINDS)
    what.add_argument("what", choices=names, metavar="WHAT", help=f"one of {', '.join(names)}")
    add_json(what)
    closer = add_selection(command, "which of them (default: all)", suite=False)
    closer.add_argument("--suite", metavar="NAME", help="those of a suite")
    add_own_files(command)
