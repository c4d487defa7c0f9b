"""The options of ``sparsebench schema``."""

from __future__ import annotations

import argparse

from .common import add_command

KINDS = ("checkpoint", "task", "protocol", "suite", "cluster")
"""The kinds of YAML files that people write."""


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "schema", "print the JSON schema of a YAML file, from which editors complete")
    what = command.add_argument_group("whose schema")
    what.add_argument("kind", choices=KINDS, metavar="KIND", help=f"one of {', '.join(KINDS)}")
