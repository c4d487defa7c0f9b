"""The one guard of the readers: whatever a damaged or hostile file makes a library raise becomes a CheckpointError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...schema import CheckpointError, SparsebenchError

_AGAIN = "it is truncated or corrupted: get it again"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, at most 200 characters; its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Let nothing but our own exceptions out of the reading of a file.

    Parameters
    ----------
    path : Path
        The file, to be named.

    Raises
    ------
    CheckpointError
        In place of any other exception but an interruption; :exc:`MemoryError` and :exc:`RecursionError` included.
    """
    try:
        yield
    except SparsebenchError:
        raise
    except MemoryError as error:
        raise CheckpointError(f"{path} asks for more memory than there is", _AGAIN) from error
    except RecursionError as error:
        raise CheckpointError(f"{path} is nested too deeply", _AGAIN) from error
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or first_line(error)}", _AGAIN) from error
    except Exception as error:
        raise CheckpointError(f"{path} can't be read: {first_line(error)}", _AGAIN) from error
