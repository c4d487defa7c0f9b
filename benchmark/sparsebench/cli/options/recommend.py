"""The options of ``sparsebench recommend``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_command, add_json, several
from .types import path, results


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "recommend", "say which checkpoint to use, from results and measured speed, and why"
    )
    where = command.add_argument_group("where from")
    where.add_argument(
        "--results",
        type=results,
        default=Path("runs"),
        metavar="DIR",
        help="a results folder, a tidy CSV file, or `published`, the paper's results (default: runs/)",
    )
    where.add_argument(
        "--bench",
        type=path,
        metavar="DIR",
        help="measured speed: the folder that `bench` wrote (default: bench/, if there)",
    )
    add_json(where)
    limits = command.add_argument_group("what it must keep to")
    limits.add_argument("--max-ms", type=float, metavar="X", help="milliseconds per image, as measured")
    limits.add_argument("--max-mb", type=float, metavar="Y", help="megabytes of the packed backbone")
    limits.add_argument("--min-accuracy", type=float, metavar="Z", help="mean accuracy, a fraction such as 0.8")
    for_what = command.add_argument_group("for what (default: all that the results have)")
    several(for_what, "--task", "--dataset", dest="task", metavar="ID", help="tasks, by id or pattern")
    several(for_what, "--mode", metavar="NAME", help="linear (frozen features) or full (finetuning)")
    several(for_what, "--probe", metavar="NAME", help="linear mode's classifiers")
    for_what.add_argument("--engine", metavar="NAME", help="the engine you will use (default: the fastest measured)")
    for_what.add_argument("--device", default="cpu", help="where you will use it: cpu, cuda, ... (default: cpu)")
