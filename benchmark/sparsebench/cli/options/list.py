"""The options of ``sparsebench list``."""

from __future__ import annotations

import argparse

from ... import extensions
from .common import add_command, add_json, add_registry, add_selection


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "list", "list what is registered")
    command.add_argument("what", choices=("checkpoints", "tasks", "methods", "suites", *extensions.KINDS))
    pick = add_selection(command, "which of them (default: all)", suite=False)
    pick.add_argument("--suite", help="those of a suite")
    add_json(command)
    add_registry(command)
