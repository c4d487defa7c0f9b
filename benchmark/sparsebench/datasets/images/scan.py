"""Check all image files of a folder before the first run, and remember those that were found whole.

It is one JSON file per folder in the cache, keyed by path, size and modification time; it is only a short cut: a
missing, damaged or unwritable one costs time and nothing else.
"""

from __future__ import annotations

import json
import os
import stat
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...common.files import write_text
from ...common.progress import notify
from ...schema import DatasetError, canonical_json, digest
from .decode import check_image

_VERSION = 1
_MANY = 5000  # images: the progress of checking more is reported
Known = dict[str, tuple[int, int, str]]


def check_files(root: Path, names: Sequence[str], cache_dir: Path | None = None) -> list[str]:
    """Return the sha256 of each file, after checking that each is a whole image.

    Parameters
    ----------
    root : Path
        The folder.
    names : sequence of str
        Paths relative to it.
    cache_dir : Path, optional
        Where results are remembered.

    Raises
    ------
    DatasetError
        For the first broken file, in the order given; the message says how many more there are.
    """
    memory = _memory_path(root, cache_dir)
    known = _recall(memory)
    stats = _stats(root, names)
    fresh = [i for i, name in enumerate(names) if known.get(name, ())[:2] != stats[i]]
    checked = dict(zip(fresh, _check_all(root, [root / names[i] for i in fresh]), strict=True))
    hashes = [checked[i] if i in checked else known[name][2] for i, name in enumerate(names)]
    if memory is not None and fresh:
        _remember(memory, {name: (*stats[i], hashes[i]) for i, name in enumerate(names)})
    return hashes


def _check_all(root: Path, paths: Sequence[Path]) -> list[str]:
    def attempt(path: Path) -> str | DatasetError:
        try:
            return check_image(path)
        except DatasetError as error:
            return error

    results: list[str | DatasetError] = []
    step = max(_MANY, len(paths) // 10)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for result in pool.map(attempt, paths):
            if len(paths) > _MANY and len(results) % step == 0:
                notify(f"checking images in {root}, once: {len(results):,} of {len(paths):,}")
            results.append(result)
    broken = [result for result in results if isinstance(result, DatasetError)]
    if broken:
        more = f" (and {len(broken) - 1} more files that can't be read)" if len(broken) > 1 else ""
        raise DatasetError(broken[0].message + more, hint=broken[0].hint)
    return [result for result in results if isinstance(result, str)]


def _stats(root: Path, names: Sequence[str]) -> list[tuple[int, int]]:
    """Return each file's size and modification time, or name the first that has none, and how many more there are."""
    found: list[tuple[int, int]] = []
    failed: list[tuple[Path, OSError]] = []
    for name in names:
        try:
            status = (root / name).stat()
            if not stat.S_ISREG(status.st_mode):
                raise OSError(None, "not a file")
        except OSError as error:
            failed.append((root / name, error))
        else:
            found.append((status.st_size, status.st_mtime_ns))
    if failed:
        path, first = failed[0]
        more = f" (and {len(failed) - 1} more files of {len(names)})" if len(failed) > 1 else ""
        reason = first.strerror or "can't be read"
        raise DatasetError(f"{path}: {reason}{more}", hint="is it a dangling link, or not readable?") from first
    return found


def _memory_path(root: Path, cache_dir: Path | None) -> Path | None:
    if cache_dir is None:
        return None
    return cache_dir / "imagefolder" / f"{digest([_VERSION, str(root.resolve())])[:32]}.json"


def _recall(memory: Path | None) -> Known:
    """Read what is remembered; a damaged file is as good as none."""
    if memory is None:
        return {}
    try:
        table = json.loads(memory.read_bytes())["files"]
        return {name: (int(size), int(mtime), _as_sha256(sha)) for name, (size, mtime, sha) in table.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _as_sha256(value: object) -> str:
    if not isinstance(value, str) or len(value) != 64:
        raise ValueError("not a sha256")
    return value


def _remember(memory: Path, known: Known) -> None:
    try:
        write_text(memory, canonical_json({"version": _VERSION, "files": known}))
    except OSError as error:
        warnings.warn(f"{memory.parent}: can't remember the checked files: {error}", stacklevel=2)
