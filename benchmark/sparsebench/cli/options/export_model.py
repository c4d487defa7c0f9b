"""The options of ``sparsebench export-model``."""

from __future__ import annotations

import argparse

from .common import add_command, add_own_files, add_records
from .types import path, positive


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "export-model", "write the network that a run trained, with its head, as safetensors and ONNX"
    )
    what = command.add_argument_group("what to write")
    what.add_argument("run", metavar="RUN", help="a run id or record key, as `sparsebench report --json` has them")
    add_records(what)
    what.add_argument(
        "--out",
        "--output",
        dest="out",
        type=path,
        metavar="DIR",
        help="a new folder to write to (default: named after checkpoint, task and seed)",
    )
    what.add_argument("--onnx", action="store_true", help="write model.onnx, too, checked against torch")
    what.add_argument("--opset", type=positive, metavar="N", help="version of ONNX's operators (default: 17)")
    add_own_files(command)
