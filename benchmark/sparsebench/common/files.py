"""Files that are whole or not there: atomic writes and content hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from pathlib import Path


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically and durably: a temporary file beside it, flushed to disk, then renamed over it.

    Raises
    ------
    OSError
        If it can't be written; the old file, if there was one, is then untouched and nothing else is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


def read_regular(path: Path | str, limit: int | None = None) -> bytes:
    """Read a file, if it is one: a pipe, a device or a socket in its place is not waited for.

    Parameters
    ----------
    path : Path
        The file; a link to one will do.
    limit : int, optional
        Most bytes that it may have.

    Raises
    ------
    OSError
        If it can't be read, isn't a regular file, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb", buffering=0) as handle:  # noqa: PTH123 - it is open already
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if limit is not None and status.st_size > limit:
            raise OSError(errno.EFBIG, f"{status.st_size} bytes are too many, {limit} are the limit", str(path))
        try:
            return handle.read()
        except (MemoryError, OverflowError) as error:
            raise OSError(errno.ENOMEM, f"{status.st_size} bytes don't fit into memory", str(path)) from error


def identity(path: Path) -> tuple[int, int] | None:
    """Return what changes when another file takes a file's place or it is written to: inode and date; None without one.

    Of a link it is the link's own.
    """
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically (see :func:`write_bytes`)."""
    write_bytes(path, text.encode())


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
