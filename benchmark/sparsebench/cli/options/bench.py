"""The options of ``sparsebench bench``."""

from __future__ import annotations

import argparse

from .common import add_command, add_offline, add_out, add_own_files, add_selection, kinds
from .types import path, positive

PARTS = ("engines", "probes", "decoding", "finetuning")


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "bench", "measure speed on this machine: engines, probes, decoding, finetuning")
    what = command.add_argument_group("what to measure")
    what.add_argument(
        "--what",
        nargs="+",
        choices=PARTS,
        default=list(PARTS),
        metavar="PART",
        help=f"{', '.join(PARTS)} (default: all)",
    )
    what.add_argument(
        "--engine", action="append", default=[], metavar="NAME|FILE", help=f"{kinds('engines')} (default: all here)"
    )
    what.add_argument(
        "--device", action="append", default=[], metavar="NAME", help="cpu or cuda (default: cpu, and cuda if there)"
    )
    add_selection(command, "which checkpoints (an omitted option means every value the suite defines)", tasks=False)
    how = command.add_argument_group("how to measure it")
    add_out(how, "bench")
    how.add_argument(
        "--results",
        type=path,
        metavar="DIR",
        help="results whose accuracy is drawn against speed (default: runs/)",
    )
    how.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: all cores)")
    how.add_argument("--batch", type=positive, default=64, metavar="N", help="images per batch (default: 64)")
    how.add_argument("--turns", type=positive, default=15, metavar="N", help="measurements of each (default: 15)")
    add_offline(how)
    add_own_files(command, tasks=False, data=False)
