"""What can go wrong with a download, and the guards that turn foreign exceptions into it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..schema import CheckpointError, SparsebenchError
from ..schema.text import printable
from .words import innermost

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FetchError(CheckpointError):
    """A file that couldn't be fetched from any of its addresses."""


class ByHandError(FetchError):
    """A file that a person has to get."""


class DiskError(FetchError):
    """A disk that doesn't take the file: neither another try nor another address helps."""


class TransferError(Exception):
    """One try at one address that failed.

    Parameters
    ----------
    reason : str
        What happened, in words.
    again : bool
        Whether another try may go better.
    wait : float, optional
        Seconds that the server asks to be left alone.
    silent : bool
        Whether there was no answer at all.
    bad : bool
        Whether the bytes that came so far can't be used.
    """

    def __init__(
        self, reason: str, *, again: bool = False, wait: float | None = None, silent: bool = False, bad: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.again, self.wait, self.silent, self.bad = reason, again, wait, silent, bad


def refused(reason: str) -> TransferError:
    """Return the error of an archive that is not unpacked."""
    return TransferError(f"an archive that is not safe to unpack: {reason}")


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Turn every exception of a library that reads what others made into a :class:`TransferError`; our own pass.

    A hostile input makes libraries raise nearly anything, ``MemoryError`` and ``RecursionError`` included.
    """
    try:
        yield
    except (SparsebenchError, TransferError):
        raise
    except Exception as error:
        raise TransferError(f"{what}: {innermost(error)}") from error


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turn an error of the disk that holds ``path``, or of the name itself, into a :class:`DiskError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        folder, name, reason = printable(str(path.parent)), printable(path.name), innermost(error)
        if getattr(error, "errno", None) in _FULL:
            raise DiskError(
                f"{folder} is full: {reason} when {name} was written",
                "free some space and run the same command again: it goes on where it was",
            ) from error
        raise DiskError(
            f"{folder} can't be written: {reason} ({name})",
            "correct its permissions, or set SPARSEBENCH_CHECKPOINTS to another folder",
        ) from error
