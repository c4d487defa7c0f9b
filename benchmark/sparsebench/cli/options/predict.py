"""The options of ``sparsebench predict``."""

from __future__ import annotations

import argparse

from .common import add_command, add_device, add_json, add_precision, kinds
from .types import path, positive


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "predict", "classify images with a network that export-model wrote")
    what = command.add_argument_group("what to classify")
    what.add_argument("model", type=path, metavar="MODEL", help="the folder that export-model wrote")
    what.add_argument("images", type=path, metavar="FOLDER", help="images, also in folders inside; or one image")
    add_json(what)
    what.add_argument("--out", "--output", dest="out", type=path, metavar="CSV", help="write the rows to a CSV file")
    how = command.add_argument_group("how to compute it")
    add_device(how)
    how.add_argument("--batch", type=positive, default=64, metavar="N", help="images at once (default: 64)")
    how.add_argument(
        "--engine",
        default="torch",
        metavar="NAME|FILE",
        help=f"what runs the network: {kinds('engines')}, auto (the fastest), or a Python file (default: torch)",
    )
    add_precision(how, ("fp32", "bf16", "fp16"))
