"""The options of ``sparsebench export-results``."""

from __future__ import annotations

import argparse

from .common import add_command, add_own_files, add_records
from .types import path


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "export-results", "write results as one file that others can verify")
    what = command.add_argument_group("which results")
    add_records(what)
    what.add_argument("--logits", action="store_true", help="include test logits, where they were kept")
    where = command.add_argument_group("where to")
    where.add_argument(
        "--out",
        "--output",
        dest="out",
        type=path,
        required=True,
        metavar="FILE",
        help="the bundle to write, such as my-method.zip; it must not exist yet",
    )
    add_own_files(command, data=False).add_argument(
        "--data", type=path, metavar="DIR", help="where data sets live (default: embedded tasks alone)"
    )
