"""Hashes trusted on first use: ``sparsebench.lock.yaml`` in the checkpoints folder.

Where a publisher gives no hash, that of the first copy is written down, and every later copy must have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from ..common.files import write_text
from ..common.paths import checkpoints_dir
from ..schema import Strict
from ..schema.checkpoint import Sha256
from ..schema.yamlfile import read_mapping, validate

NAME = "sparsebench.lock.yaml"

_HEAD = """\
# Hashes of checkpoint files whose publishers give none, as they were when sparsebench first saw them. A file that
# differs is refused. Where a change is expected, delete its entry: the next use writes a new one.
"""


class Pin(Strict):
    """A file as it was first seen: ``id`` of its entry, ``url`` it came from, ``size`` in bytes, ``date`` in UTC."""

    id: str
    url: str | None = None
    sha256: Sha256
    size: int
    date: str


def pins_path() -> Path:
    """Return the path of the lock file."""
    return checkpoints_dir() / NAME


def read_pin(path: Path) -> Pin | None:
    """Return what is written down about a file.

    Raises
    ------
    RegistryError
        If the lock file isn't what sparsebench writes.
    """
    return _parse(_read()).get(pin_key(path))


def write_pin(path: Path, pin: Pin) -> Pin:
    """Write down a file's hash, unless another process has; return what is written down now.

    Raises
    ------
    OSError
        If it can't be written.
    """
    with _locked():
        pins = _parse(_read())
        key = pin_key(path)
        if key not in pins:
            pins[key] = pin
            entries = {str(name): found.model_dump(exclude_none=True) for name, found in pins.items()}
            write_text(pins_path(), _HEAD + yaml.safe_dump(entries, sort_keys=True, allow_unicode=True, width=1000))
        return pins[key]


def new_pin(identifier: str, url: str | None, sha256: str, size: int) -> Pin:
    """Return a pin of now."""
    return Pin(id=identifier, url=url, sha256=sha256, size=size, date=datetime.now(UTC).isoformat(timespec="seconds"))


def pin_key(path: Path) -> str:
    """Return a file's name in the lock file: relative to the checkpoints folder where it lies in it."""
    path = path.absolute()
    folder = checkpoints_dir().absolute()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _read() -> dict[str, Any]:
    path = pins_path()
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError:
        return read_mapping(path)  # which says why
    if not any(line.strip() and line[0] != "#" for line in lines):
        return {}  # a person may have deleted the last entry
    return read_mapping(path)


def _parse(everything: dict[str, Any]) -> dict[str, Pin]:
    return {key: validate(Pin, fields, path=pins_path(), entry=key) for key, fields in everything.items()}


@contextmanager
def _locked() -> Iterator[None]:
    path = pins_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{NAME}.lock")):
        yield
