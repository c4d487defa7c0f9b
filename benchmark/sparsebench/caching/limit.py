"""The size limit of the cache: entries are removed least recently used first, except those that a process has open.

An entry is dated when read or written. Whoever maps an entry holds a shared lock on its array; one is removed
only under an exclusive lock, by a rename, so that a reader finds it whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..schema import InputError

LIMIT_VARIABLE = "SPARSEBENCH_CACHE_LIMIT"
DEFAULT_LIMIT = 50 * 2**30
"""Bytes of cached features and crops together, where the variable doesn't say it."""

KINDS = ("features", "crops", "facts", "tables")
"""Folders below the cache folder that count."""

ARRAY, META = "array.npy", "meta.json"
TEMPORARY = ".tmp-"
_STALE_SECONDS = 24 * 3600.0
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


class CacheWarning(UserWarning):
    """Something cached could not be read or written; results are not affected."""


def cache_limit() -> int | None:
    """Return the most bytes of cached arrays: ``$SPARSEBENCH_CACHE_LIMIT``, else 50 GiB; None for ``none``.

    Raises
    ------
    InputError
        If the variable holds neither a size nor ``none``.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip().lower()
    if not text:
        return DEFAULT_LIMIT
    if text == "none":
        return None
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([kmgt]?)(?:i?b)?", text)
    if found is None:
        raise InputError(f"{LIMIT_VARIABLE} is {text!r}, which is no size", "give a size such as 20G, or none")
    return int(float(found[1]) * _UNITS[found[2]])


def make_room(cache_dir: Path, size: int) -> bool:
    """Remove the least recently used entries until one of ``size`` bytes fits; return whether it does.

    What processes have open is passed over, so the limit may be exceeded while they do. Temporary files that killed
    processes left a day ago or earlier are removed too.
    """
    limit = cache_limit()
    if limit is not None and size > limit:
        return False
    used, entries = 0, []
    for item in _items(cache_dir):
        if item.path.name.startswith(TEMPORARY):
            if time.time() - item.used > _STALE_SECONDS:
                _delete(item.path)
                continue
        else:
            entries.append(item)
        used += item.size
    for item in sorted(entries, key=lambda item: item.used):
        if limit is None or used + size <= limit:
            break
        if remove(item.path, item.used):
            used -= item.size
    return True


def remove(entry: Path, used: float | None = None) -> bool:
    """Remove an entry unless a process has it open, or has used it since it was dated ``used``."""
    trash = entry.with_name(f"{TEMPORARY}{os.getpid()}-{entry.name}")
    try:
        with _alone(entry):
            if used is not None and entry.stat().st_mtime != used:
                return False
            entry.replace(trash)
    except OSError:  # it is open, or gone
        return False
    _delete(trash)
    return True


def hold(descriptor: int) -> None:
    """Hold an entry's array open: a shared lock, which the system drops when it is closed and unmapped.

    Raises
    ------
    OSError
        If it is just being removed.
    """
    with contextlib.suppress(ImportError):  # where there is no fcntl, an open file can't be removed
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks: see _alone
            return


@dataclass(frozen=True)
class _Item:
    """An entry, or what will be one: its path, bytes, and when it was last used."""

    path: Path
    size: int
    used: float


def _items(cache_dir: Path) -> Iterator[_Item]:
    for kind in KINDS:
        try:
            found = list(os.scandir(cache_dir / kind))
        except OSError:
            continue
        for item in found:
            with contextlib.suppress(OSError):
                status = item.stat(follow_symlinks=False)
                size = status.st_size
                if item.is_dir(follow_symlinks=False):
                    with os.scandir(item.path) as files:
                        size = sum(file.stat(follow_symlinks=False).st_size for file in files)
                yield _Item(Path(item.path), size, status.st_mtime)


@contextmanager
def _alone(entry: Path) -> Iterator[None]:
    """Hold an entry alone.

    Raises
    ------
    OSError
        If a process has it open.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    array = entry / ARRAY if entry.is_dir() else entry
    try:
        descriptor = os.open(array, os.O_RDWR | os.O_NONBLOCK)
    except OSError:  # a broken entry: nobody can have it open
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks: what wasn't used for a day is not in use
            if time.time() - entry.stat().st_mtime < _STALE_SECONDS:
                raise
        yield
    finally:
        os.close(descriptor)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()
