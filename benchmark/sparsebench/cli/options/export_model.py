"""The options of ``sparsebench export-model``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command, add_registry
from .types import path, positive


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "export-model", "write the network that a run trained, with its head, as safetensors and ONNX"
    )
    command.add_argument(
        "run", metavar="RUN", help="a run id or record key, as `sparsebench report --json` and the results have them"
    )
    command.add_argument(
        "--results", type=path, default=Path("runs"), metavar="DIR", help="the results folder (default: runs/)"
    )
    command.add_argument(
        "--out",
        "--output",
        dest="out",
        type=path,
        metavar="DIR",
        help="the folder to write, which must not be there (default: named after checkpoint, task and seed)",
    )
    command.add_argument("--onnx", action="store_true", help="write model.onnx, too, checked against torch")
    command.add_argument("--opset", type=positive, metavar="N", help="version of ONNX's operators (default: 17)")
    add_registry(command)
