"""The options of ``sparsebench bench``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command, add_offline, add_selection, kinds
from .types import path, positive


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "bench", "measure speed on this machine: engines, probes, decoding, finetuning")
    pick = add_selection(command, "which checkpoints (leaving all out means those of the suite)", tasks=False)
    pick.add_argument("--registry", action="append", type=path, default=[], metavar="FILE", help="more checkpoints")
    how = command.add_argument_group("how")
    parts = ("engines", "probes", "decoding", "finetuning")
    how.add_argument("--what", nargs="+", choices=parts, default=list(parts), help="parts to measure (default: all)")
    how.add_argument(
        "--engine",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help=f"{kinds('engines')}, or a Python file (default: all here)",
    )
    how.add_argument("--device", action="append", default=[], help="cpu, cuda, ... (default: cpu, and cuda if there)")
    how.add_argument("--batch", type=positive, default=64, metavar="N", help="images per batch (default: 64)")
    how.add_argument("--threads", type=positive, metavar="T", help="CPU threads (default: all cores)")
    how.add_argument("--turns", type=positive, default=15, metavar="N", help="measurements of each (default: 15)")
    add_offline(how)
    where = command.add_argument_group("where from and to")
    where.add_argument(
        "--results",
        type=path,
        metavar="DIR",
        help="accuracy to draw throughput against: a results folder or tidy CSV (default: runs/, else results/mini/)",
    )
    where.add_argument(
        "--out",
        "--output",
        dest="out",
        type=path,
        default=Path("bench"),
        metavar="DIR",
        help="where to (default: bench/)",
    )
