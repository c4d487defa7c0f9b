"""The standard streams, such that work doesn't end because nobody reads what it says."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any


class _Forgiving(io.FileIO):
    """A file whose writes never fail: what a closed terminal or pipe doesn't take is dropped."""

    def write(self, data: Any, /) -> int:
        with contextlib.suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Let output neither fail for a closed stream nor for a character that the terminal doesn't have.

    Messages on standard error are no part of a command's result: where nobody can read them any more, they are dropped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - stays open
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        raw = _Forgiving(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=sys.stderr.encoding, errors="replace", line_buffering=True
        )


def silence_stdout() -> None:
    """Write out what standard output holds; where nobody reads it any more, drop that and what follows."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):  # not a stream of the system
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
