"""The ``sparsebench`` command: parses arguments, calls the library, turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from ..schema.errors import SparsebenchError
from ..schema.text import printable
from .parser import build_parser

INTERRUPTED = 130

_COMMANDS = {"list": "listing"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 if all went well; 2 if something given can't be used (nothing was run or written); 1 if a run failed; 130
        after an interrupt.
    """
    _prepare_streams()
    arguments = build_parser().parse_args(argv)
    warnings.showwarning = _show_warning
    try:
        module = importlib.import_module(f".{_COMMANDS.get(arguments.command, arguments.command)}", __name__)
        status: int = module.main(arguments)
        sys.stdout.flush()
    except SparsebenchError as error:
        return _complain(error, arguments)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if arguments.debug:
            traceback.print_exc()
        else:
            print(f"error: {type(error).__name__}: {printable(str(error))}\n  (--debug shows where)", file=sys.stderr)
        return 1
    return status


def _prepare_streams() -> None:
    """Let output neither fail for a closed stream nor for a character that the terminal doesn't have."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - stays open
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _complain(error: SparsebenchError, arguments: argparse.Namespace) -> int:
    if arguments.debug:
        traceback.print_exc()
    print(f"error: {error.message}" + (f"; {error.hint}" if error.hint else ""), file=sys.stderr)
    return error.exit_code


def _show_warning(message: Warning | str, category: type[Warning], filename: str, *_: object, **__: object) -> None:
    """Print a warning of ours as one line; those of libraries are about code, not about the user's input."""
    if issubclass(category, UserWarning) and f"{os.sep}sparsebench{os.sep}" in filename:
        print(f"warning: {printable(str(message))}", file=sys.stderr)
