"""What the processes of a run say to the command that started them: lines of JSON on their standard output."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

from ... import schema
from ...schema import RunError, SparsebenchError

GRACE_SECONDS = 60.0
"""How long a process that is to stop may take for its step and the state; then it ends all the same."""


class Speaker:
    """Says lines; whatever else is printed goes to standard error."""

    def __init__(self) -> None:
        self._out = os.dup(sys.stdout.fileno())
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(self, kind: str, **fields: Any) -> None:
        """Say a line; that nobody listens any more shows at the end of standard input."""
        with contextlib.suppress(OSError):
            os.write(self._out, (json.dumps({"kind": kind, **fields}) + "\n").encode())


def described(error: BaseException) -> dict[str, Any]:
    """Return what a message says of an error."""
    return {
        "type": type(error).__name__,
        "message": error.message if isinstance(error, SparsebenchError) else str(error),
        "hint": error.hint if isinstance(error, SparsebenchError) else None,
        "errno": error.errno if isinstance(error, OSError) else None,
    }


def error_of(fields: dict[str, Any]) -> Exception:
    """Return the error that :func:`described` was given: of its own kind, if that is ours or the system's."""
    message, kind = fields["message"], getattr(schema, fields["type"], None)
    if fields["errno"] is not None:
        return OSError(fields["errno"], message)
    if not (isinstance(kind, type) and issubclass(kind, SparsebenchError)):
        return RunError(f"{fields['type']}: {message}")
    error = kind.__new__(kind)  # some are made of other arguments
    SparsebenchError.__init__(error, message, fields["hint"])
    return error
