"""The options of ``sparsebench merge``."""

from __future__ import annotations

import argparse

from .common import add_command, add_json, add_records
from .types import path
from .verify import add_verification


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "merge", "verify bundles of results, and add them to a results folder")
    what = command.add_argument_group("what to add, and where")
    what.add_argument("bundles", nargs="+", type=path, metavar="BUNDLE", help="files that export-results has written")
    add_records(what)
    add_json(what)
    add_verification(command)
