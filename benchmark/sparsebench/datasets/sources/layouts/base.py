"""What every layout on disk has: where it may lie, what it must hold, and how its annotations are read."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ....schema import DatasetError, Strict
from ...splits.splitting import SplitName
from ..folders import Entry

if TYPE_CHECKING:
    import numpy as np

PARTS: tuple[SplitName, ...] = ("train", "val", "test")


class LayoutOptions(Strict):
    """A layout's options; most have none."""


class PartitionOptions(LayoutOptions):
    """``partition``: which of the published ten partitions into splits; the paper's is the first."""

    partition: int = Field(strict=True, default=1, ge=1, le=10)


@dataclass(frozen=True)
class Listing:
    """A data set's images by annotation: each one's path below the root, class and split; the classes in order."""

    classes: tuple[str, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Layout:
    """How a published data set lies on disk.

    Parameters
    ----------
    folders : tuple of str
        Where it may be, below the data folder; the first is where torchvision puts it.
    needs : tuple of str
        Patterns of what a folder must hold to be taken for it (``|`` between alternatives).
    read : callable or None
        ``read(folder, options)`` lists the images by the annotations; None: it has only class folders.
    obtain : str
        What to get, from where, and where to put it: for people, where there is no download.
    options : type
        The model of the task's options.
    torchvision : str or None
        The class that downloads it; None where no download works any more.
    """

    folders: tuple[str, ...]
    needs: tuple[str, ...]
    read: Callable[[Path, Any], Listing] | None
    obtain: str
    options: type[LayoutOptions] = LayoutOptions
    torchvision: str | None = None


def read_lines(path: Path) -> list[str]:
    """Return the lines of an annotation file that aren't empty, without their ends.

    Raises
    ------
    DatasetError
        If it is missing, unreadable or empty.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    lines = [line for line in lines if line]
    if not lines:
        raise DatasetError(f"{path}: the annotation file is empty", hint="unpack the data set's archive again")
    return lines


def read_json(path: Path) -> Any:
    """Return the content of a JSON annotation file, or raise a :class:`DatasetError`."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def read_mat(path: Path, *names: str) -> list[np.ndarray]:
    """Return variables of a MATLAB file, squeezed.

    Raises
    ------
    DatasetError
        If the file is missing, damaged, or lacks one of them.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(io.BytesIO(path.read_bytes()), squeeze_me=True)
    except Exception as error:  # scipy's reader of damaged files raises nearly anything
        raise unreadable(path, error) from error
    lacking = [name for name in names if name not in content]
    if lacking:
        raise DatasetError(
            f"{path}: holds no {', '.join(lacking)}", hint="it is not the published file; unpack the archive again"
        )
    return [content[name] for name in names]


def unreadable(path: Path, error: Exception) -> DatasetError:
    """Return the error of an annotation file that can't be read."""
    if isinstance(error, FileNotFoundError):
        return DatasetError(f"{path}: the annotation file is missing", hint="unpack the data set's archive again")
    reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
    return DatasetError(f"{path}: the annotation file can't be read: {reason}", hint="unpack the archive again")


def bad_line(path: Path, number: int, line: str, expected: str) -> DatasetError:
    """Return the error of an annotation's line (counted from 1) that is not ``expected``."""
    return DatasetError(
        f"{path}, line {number}: {line[:80]!r} is not {expected}", hint="unpack the data set's archive again"
    )


def inside(name: str, path: Path, number: int) -> str:
    """Return an image's relative path as an annotation gives it, which may not lead out of the folder."""
    parts = name.split("/")
    if not name or ".." in parts or name.startswith("/") or "\\" in name or "\0" in name:
        raise bad_line(path, number, name, "a path inside the data set")
    return name


def in_order(names: Sequence[str], entries: Sequence[Entry]) -> Listing:
    """Return a listing whose classes are those of ``names`` that occur, in their order."""
    there = {entry.label for entry in entries}
    return Listing(tuple(name for name in names if name in there), tuple(entries))
