"""The options of ``sparsebench doctor``."""

from __future__ import annotations

import argparse

from .common import add_command, add_json, add_records


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = add_command(commands, "doctor", "check this installation: kernels, extras, GPUs, caches, free disk")
    what = command.add_argument_group("what to look at")
    add_records(what)
    add_json(what)
