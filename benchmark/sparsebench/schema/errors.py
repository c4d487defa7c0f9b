"""The exceptions of sparsebench.

Every error a user can meet is a :class:`SparsebenchError`. Its message is one line that names the offending value;
``hint`` says what to do next. ``exit_code`` is what the command line ends with: 2 for what could be checked before the
first run (nothing was written), 1 for what failed later.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from .text import printable


class SparsebenchError(Exception):
    """Base class of all errors raised on purpose by sparsebench.

    Both texts may quote a file: control characters in them are spelled out, so that an error is always one line.

    Parameters
    ----------
    message : str
        What was wrong and where, in one line.
    hint : str, optional
        What to do next.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = printable(message)
        self.hint = None if hint is None else printable(hint)
        super().__init__(self.message)

    @property
    def line(self) -> str:
        """The message and what to do next, as the command line shows them."""
        return self.message if self.hint is None else f"{self.message}; {self.hint}"

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"


class InputError(SparsebenchError):
    """Something the user gave can't be used; raised before anything is written."""

    exit_code = 2


class UnknownNameError(InputError):
    """A name (method, task, checkpoint, ...) that nothing is registered under.

    Parameters
    ----------
    kind : str
        What the name should have been, for example ``"task"``.
    name : str
        The name that was given.
    known : iterable of str
        The names there are.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(set(known))
        near = nearest(name, choices)
        if near:
            hint = "did you mean " + " or ".join(near) + "?"
        elif choices:
            hint = "there are: " + ", ".join(choices[:20]) + (", ..." if len(choices) > 20 else "")
        else:
            hint = f"no {kind} is registered"
        super().__init__(f"unknown {kind} {name!r}", hint)
        self.kind, self.name, self.near = kind, name, near


class RegistryError(InputError):
    """A YAML file that doesn't say what a registry, task, suite or protocol must say."""


class CheckpointError(InputError):
    """A checkpoint file that is missing, damaged, refused, or doesn't fit its architecture."""


class DatasetError(InputError):
    """A data set that is missing, damaged, or not what its task says."""


class MissingDataError(DatasetError):
    """A data set that is not here at all; the hint says where it can be had."""


class DifferentDataError(DatasetError):
    """A data set that is here, but isn't what its task says: fetching it isn't the remedy."""


class ResultsError(InputError):
    """A results folder that can't be read or written."""


class RunError(SparsebenchError):
    """A run that failed after the plan had been accepted."""


class MaskError(RunError):
    """A masked weight that is not zero: the sparsity pattern was not held."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to ``count`` known names that look like ``name``, best first."""
    table = {k.lower(): k for k in known}
    found = difflib.get_close_matches(name.lower(), list(table), n=count, cutoff=0.6)
    starts = [k for k in table if len(name) >= 3 and k.startswith(name.lower()) and k not in found]
    return [table[k] for k in (found + starts)[:count]]
