"""The options of ``sparsebench export-model``."""

from __future__ import annotations

import argparse

from .common import add_command, add_own_files, add_records
from .types import path, positive


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "export-model", "write the network that a run trained, with its head, as files")
    what = command.add_argument_group("which network")
    what.add_argument("run", metavar="RUN", help="a run id or record key, as the results have them (report --json)")
    add_records(what)
    where = command.add_argument_group("where to, and as what")
    where.add_argument(
        "--out",
        "--output",
        dest="out",
        type=path,
        metavar="DIR",
        help="the folder to write, which must not exist yet (default: named after checkpoint, task and seed)",
    )
    where.add_argument("--onnx", action="store_true", help="write an ONNX file, too, checked against torch")
    where.add_argument("--opset", type=positive, metavar="N", help="the version of ONNX's operators (default: 17)")
    add_own_files(command)
