"""The options of ``sparsebench analyze``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command, add_narrowing
from .types import path, results


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "analyze", "compare two checkpoints image by image: agreement, classes, calibration"
    )
    what = command.add_argument_group("what to analyze")
    what.add_argument("first", metavar="A", help="a checkpoint's id, for example of a sparse network")
    what.add_argument("second", metavar="B", help="the checkpoint that it is held against, for example its reference")
    what.add_argument(
        "--results",
        type=results,
        default=Path("runs"),
        metavar="DIR",
        help="where both were run: a results folder, or a curated one (default: runs/)",
    )
    what.add_argument("--json", action="store_true", help="print JSON; numbers are fractions, counts or nats")
    what.add_argument(
        "--figures",
        type=path,
        metavar="DIR",
        help="write reliability diagrams, changes by class, confusion, and the images of exemplars there",
    )
    what.add_argument(
        "--cka",
        action="store_true",
        help="compare the features, too, stage by stage (linear CKA); needs both checkpoints and the images",
    )
    what.add_argument(
        "--data", dest="data_dir", type=path, metavar="DIR", help="where data sets live (default: $SPARSEBENCH_DATA)"
    )
    add_narrowing(command)
