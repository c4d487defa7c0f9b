"""What can go wrong with a download."""

from __future__ import annotations

from ..schema import CheckpointError


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
    """

    def __init__(self, reason: str, *, again: bool, wait: float | None = None, silent: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.again, self.wait, self.silent = reason, again, wait, silent
