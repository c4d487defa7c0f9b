"""Find out, before anything is written, whether a folder can be written to, and leave no trace of having asked."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..schema import ResultsError

_PROBE_BYTES = 4096


def ensure_writable(folder: Path) -> None:
    """Check that files can be written in a folder that may not exist yet; create nothing that stays.

    The nearest existing ancestor must be a folder in which a file without a name can be created and filled, so the
    answer holds for the superuser, for read-only and full file systems, and for paths below a plain file.

    Raises
    ------
    ResultsError
        If nothing can be written there.
    """
    try:
        ancestor = _nearest_existing(folder)
        if not ancestor.is_dir():
            raise NotADirectoryError(f"{ancestor} is not a folder")
        with tempfile.TemporaryFile(dir=ancestor, buffering=0) as probe:
            if probe.write(bytes(_PROBE_BYTES)) != _PROBE_BYTES:
                raise OSError("no space left on the disk")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ResultsError(
            f"can't write to {str(folder)!r}: {reason}",
            "choose a folder that you may write to, and that has free space",
        ) from error


def _nearest_existing(folder: Path) -> Path:
    """Return the first of ``folder`` and its parents that exists; a dangling link exists and isn't a folder."""
    path = folder.absolute()
    for candidate in (path, *path.parents):
        try:
            os.lstat(candidate)
        except FileNotFoundError:
            continue
        return candidate
    return path
