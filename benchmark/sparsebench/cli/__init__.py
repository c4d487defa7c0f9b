"""The ``sparsebench`` command: parses arguments, calls the library, turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence

from ..common import interruption, timings  # noqa: F401 - timings says when the program started
from ..schema.errors import SparsebenchError
from ..schema.text import printable
from .parser import parse
from .streams import prepare_streams, silence_stdout

_SIGNALLED = 128
"""The status after a signal is this and the signal's number: 130 after Ctrl-C."""

_COMMANDS = {"list": "listing"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 if all went well; 2 if something given can't be used (nothing was run or written); 1 if a run failed; 128
        and the signal's number after a signal: 130 after Ctrl-C.
    """
    prepare_streams()
    arguments = parse(sys.argv[1:] if argv is None else argv)
    warnings.showwarning = _warnings()
    try:
        with interruption.handled():
            name = _COMMANDS.get(arguments.command, arguments.command.replace("-", "_"))
            module = importlib.import_module(f".{name}", __name__)
            status: int = module.main(arguments)
            sys.stdout.flush()
    except SparsebenchError as error:
        return _complain(error, arguments)
    except KeyboardInterrupt as interrupt:
        number = interrupt.number if isinstance(interrupt, interruption.Interrupted) else signal.SIGINT
        what = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
        print(f"\n{what}; the same command goes on from here", file=sys.stderr)
        silence_stdout()
        return _SIGNALLED + number
    except BrokenPipeError:
        silence_stdout()
        return 1
    except Exception as error:
        if arguments.debug:
            traceback.print_exc()
        else:
            print(f"error: {type(error).__name__}: {printable(str(error))}\n  (--debug shows where)", file=sys.stderr)
        return 1
    return status


def _complain(error: SparsebenchError, arguments: argparse.Namespace) -> int:
    if arguments.debug:
        traceback.print_exc()
    print(f"error: {error.line}", file=sys.stderr)
    return error.exit_code


def _warnings() -> Callable[..., None]:
    """Return what shows warnings of ours as one line, each once.

    Those of libraries are about code, not about the user's input.
    """
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], filename: str, *_: object, **__: object) -> None:
        text = printable(str(message))
        if issubclass(category, UserWarning) and f"{os.sep}sparsebench{os.sep}" in filename and text not in said:
            said.add(text)
            print(f"warning: {text}", file=sys.stderr)

    return show
