"""Options that several commands have."""

from __future__ import annotations

import argparse
from typing import Any

from ... import extensions
from .types import name_text, path, positive


def add_command(commands: argparse._SubParsersAction, name: str, summary: str) -> argparse.ArgumentParser:
    """Add a command; its summary is a short phrase, which also begins its help."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    return command


def add_registry(command: argparse.ArgumentParser) -> None:
    """Add the options that name files of the user's own."""
    group = command.add_argument_group("your own files")
    group.add_argument("--registry", action="append", type=path, default=[], metavar="FILE", help="more checkpoints")
    group.add_argument(
        "--tasks-dir", action="append", type=path, default=[], metavar="DIR", help="more tasks and suites"
    )
    group.add_argument("--data", type=path, metavar="DIR", help="where data sets live")


def several(group: argparse._ArgumentGroup | argparse.ArgumentParser, *names: str, **more: Any) -> None:
    """Add an option that takes several values, at once or repeated."""
    group.add_argument(*names, action="extend", nargs="+", default=[], **({"type": name_text} | more))


def add_selection(
    command: argparse.ArgumentParser, title: str, *, tasks: bool = True, runs: bool = False, suite: bool = True
) -> argparse._ArgumentGroup:
    """Add the selectors: what to run, fetch, list or report."""
    pick = command.add_argument_group(
        title,
        "Each takes several values. Names may be patterns, in quotes: 'mini.*_s90', and '!mini.lth*' leaves out.",
    )
    several(pick, "--method", help="pruning method: acdc, gmp, dense, ...")
    several(pick, "--sparsity", type=float, metavar="S", help="nominal, a fraction: 0.9")
    if tasks:
        several(pick, "--task", "--dataset", dest="task", metavar="ID|DIR|YAML", help="id, image folder or task file")
    if runs:
        several(pick, "--mode", help="linear or full")
    several(
        pick,
        "--checkpoint",
        "--model",
        dest="checkpoint",
        metavar="ID|FILE",
        help="an id, or a .pth/.safetensors; FILE#ema, FILE#raw or FILE#NAME picks one of several sets of weights",
    )
    if suite:
        pick.add_argument("--suite", default="mini", help="tasks, architectures and protocols (default: mini)")
    several(pick, "--arch", help="architecture; with a checkpoint FILE, the file's")
    several(pick, "--variant", help="a method's variant (erk_5x, uniform, ...), or all")
    if tasks and suite:
        pick.add_argument(
            "--no-reference",
            action="store_true",
            help="leave out the dense references that the selected checkpoints are compared with",
        )
    return pick


def kinds(plural: str) -> str:
    """Return the names of a kind of extension, as words of a help text."""
    return ", ".join(extensions.names(plural))


def add_format(target: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add ``--format``."""
    target.add_argument(
        "--format",
        default="auto",
        metavar="NAME|FILE",
        help="format of a checkpoint FILE: one of `sparsebench list formats`, or a Python file (default: recognised)",
    )


def add_json(target: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add ``--json``."""
    target.add_argument("--json", action="store_true", help="print JSON instead of tables")


def add_offline(target: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add ``--offline``."""
    target.add_argument("--offline", action="store_true", help="fetch nothing (also: SPARSEBENCH_OFFLINE=1)")


def add_hardware(group: argparse._ArgumentGroup, precisions: tuple[str, ...]) -> None:
    """Add how numbers are computed, with the precisions that there are."""
    group.add_argument("--threads", type=positive, default=1, metavar="T", help="CPU threads (default: 1)")
    group.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    group.add_argument("--precision", choices=precisions, default="fp32", help="autocast below fp32 (default: fp32)")
    group.add_argument("--no-channels-last", action="store_true", help="keep images channels first in memory")
