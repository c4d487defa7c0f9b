"""Options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeAlias

from ... import extensions
from ..helping import Formatter
from .types import name_text, path, positive

Target: TypeAlias = argparse.ArgumentParser | argparse._ArgumentGroup


def add_command(commands: argparse._SubParsersAction, name: str, summary: str) -> argparse.ArgumentParser:
    """Add a command; its summary is a short phrase, which also begins its help."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        formatter_class=Formatter,
        add_help=False,
        allow_abbrev=False,
    )
    return command


def several(target: Target, *names: str, **more: Any) -> None:
    """Add an option that takes several values, at once or repeated."""
    target.add_argument(*names, action="extend", nargs="+", default=[], **({"type": name_text} | more))


def add_selection(
    command: argparse.ArgumentParser, title: str, *, tasks: bool = True, runs: bool = False, suite: bool = True
) -> argparse._ArgumentGroup:
    """Add the selectors: what to run, fetch, list or report.

    Parameters
    ----------
    command : ArgumentParser
        The command.
    title : str
        What is selected.
    tasks, runs, suite : bool
        Whether tasks, modes and a suite select, too; without a suite, what is selected from is there already, so that
        names alone are asked for.

    Returns
    -------
    argument group
        The selectors that fewer people need, for more of them.
    """
    first = command.add_argument_group(
        title,
        "Each takes several values. Names may be patterns, in quotes:\n'mini.*_s90', and '!mini.lth*' leaves out.",
    )
    several(
        first,
        "--checkpoint",
        "--model",
        dest="checkpoint",
        metavar="ID|FILE" if suite else "ID",
        help="a registered checkpoint, or a file of your own (FILE#ema: its averaged weights)"
        if suite
        else "a checkpoint's id",
    )
    several(first, "--method", metavar="NAME", help="a pruning method, such as acdc or gmp")
    several(first, "--sparsity", type=float, metavar="S", help="the share of weights that are pruned, such as 0.9")
    if tasks:
        several(
            first,
            "--task",
            "--dataset",
            dest="task",
            metavar="ID|DIR|YAML" if suite else "ID",
            help="a registered task, a folder of images, or a task file" if suite else "a task's id",
        )
    if runs:
        modes = "linear (frozen features), full (finetuning) or upstream (the checkpoint's own head on its own task)"
        several(first, "--mode", metavar="NAME", help=modes)
    if suite:
        first.add_argument(
            "--suite",
            default="mini",
            metavar="NAME",
            help="the suite whose tasks, checkpoints and protocols are used (default: mini)",
        )
    closer = command.add_argument_group("more selectors")
    several(closer, "--arch", metavar="NAME", help="an architecture; with a checkpoint FILE, the file's own")
    several(closer, "--variant", metavar="NAME", help="a variant of a method, such as erk_5x, or all")
    if suite:
        several(closer, "--replicate", metavar="N", help="number of an upstream training, or all (default: 0)")
    if tasks and suite:
        closer.add_argument(
            "--no-reference",
            action="store_true",
            help="leave out the dense checkpoints that the sparse ones are compared with",
        )
    return closer


def add_narrowing(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what chooses among the ways in which two checkpoints were run."""
    closer = command.add_argument_group("more selectors (needed where the results have several)")
    several(
        closer, "--task", "--tasks", dest="tasks", metavar="TASK", help="tasks or patterns (default: all that both ran)"
    )
    closer.add_argument("--mode", metavar="NAME", help="linear, full or upstream")
    closer.add_argument("--probe", metavar="NAME", help="linear mode's classifier")
    closer.add_argument("--protocol", metavar="NAME", help="the protocol, as tables name it")
    closer.add_argument("--replicate", type=int, metavar="N", help="only this upstream training (default: all)")
    return closer


def add_own_files(
    command: argparse.ArgumentParser, *, tasks: bool = True, data: bool = True
) -> argparse._ArgumentGroup:
    """Add the options that name files of the user's own."""
    group = command.add_argument_group("your own files")
    group.add_argument(
        "--registry", action="append", type=path, default=[], metavar="FILE", help="a YAML file with more checkpoints"
    )
    if tasks:
        add_tasks_dir(group)
    if data:
        group.add_argument(
            "--data",
            type=path,
            metavar="DIR",
            help="where data sets live (default: $SPARSEBENCH_DATA)",
        )
    return group


def add_tasks_dir(target: Target) -> None:
    """Add ``--tasks-dir``."""
    target.add_argument(
        "--tasks-dir",
        action="append",
        type=path,
        default=[],
        metavar="DIR",
        help="a folder of YAML files with more tasks and suites",
    )


def add_format(target: Target) -> None:
    """Add ``--format``."""
    target.add_argument(
        "--format",
        default="auto",
        metavar="NAME|FILE",
        help="the format of a checkpoint FILE: a name, or a Python file with your own (default: recognised)",
    )


def add_records(target: Target, *names: str) -> None:
    """Add the results folder, under further names."""
    target.add_argument(
        "--results",
        *names,
        dest="results",
        type=path,
        default=Path("runs"),
        metavar="DIR",
        help="the results folder (default: runs/)",
    )


def add_out(target: Target, default: str) -> None:
    """Add where a command writes to."""
    target.add_argument(
        "--out",
        "--output",
        dest="out",
        type=path,
        default=Path(default),
        metavar="DIR",
        help=f"the folder to write to (default: {default}/)",
    )


def kinds(plural: str) -> str:
    """Return the names of a kind of extension, as words of a help text."""
    return ", ".join(extensions.names(plural))


def add_json(target: Target) -> None:
    """Add ``--json``."""
    target.add_argument("--json", action="store_true", help="print JSON instead of tables")


def add_offline(target: Target) -> None:
    """Add ``--offline``."""
    target.add_argument("--offline", action="store_true", help="fetch nothing (also: SPARSEBENCH_OFFLINE=1)")


def add_device(target: Target) -> None:
    """Add what numbers are computed on."""
    target.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    target.add_argument("--threads", type=positive, default=1, metavar="N", help="CPU threads per run (default: 1)")


def add_precision(target: Target, precisions: tuple[str, ...]) -> None:
    """Add the details of how numbers are computed, with the precisions that there are."""
    target.add_argument(
        "--precision", choices=precisions, default="fp32", help="number format of a network's layers (default: fp32)"
    )
    target.add_argument("--no-channels-last", action="store_true", help="keep images channels first in memory")
