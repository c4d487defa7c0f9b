"""Where a checkpoint's file is, and whether it is the right one; nothing is fetched here."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ..common.files import sha256_file
from ..common.paths import checkpoints_dir, installed_file, package_file
from ..schema import Checkpoint, CheckpointError, FileSource
from ..schema.text import printable
from .pins import Pin, new_pin, pins_path, read_pin, write_pin
from .words import innermost, public, shown

State = Literal["here", "fetchable", "by hand", "missing"]


class WrongHashError(CheckpointError):
    """A file whose hash is not the one that its entry gives."""


def checkpoint_path(source: FileSource) -> Path:
    """Return where a checkpoint's file lies, or would lie once it is fetched."""
    kind, _, name = source.path.partition(":")
    if kind == "package":
        return package_file(name)
    if kind == "python":
        return installed_file(name)
    if kind == "cache":
        return checkpoints_dir() / name
    return Path(os.path.expanduser(source.path))  # noqa: PTH111 - unlike Path's, it leaves an unknown user's name


def find_state(source: FileSource) -> State:
    """Return whether a file is there, can be fetched, has to be got by hand, or is simply missing."""
    path = checkpoint_path(source)
    with _reading(str(path)):
        if path.exists():
            return "here"
    if source.addresses:
        return "fetchable"
    return "by hand" if source.manual else "missing"


def remedy(checkpoint: Checkpoint) -> str:
    """Return what to do about a file that is missing or damaged."""
    source = checkpoint.file
    if source.path.startswith("package:"):
        return "reinstall sparsebench"
    if source.addresses:
        return f"sparsebench fetch --checkpoint {shlex.quote(checkpoint.id)} gets it"
    if source.manual:
        return f"it has to be got by hand: {source.manual.strip()}; put it there"
    return "put the file there or correct the entry's path"


def locate(checkpoint: Checkpoint) -> Path:
    """Return the path of a checkpoint's file, its hash checked before anything reads it.

    A published file without a published hash is held to the hash of the first copy (see :mod:`.pins`).

    Raises
    ------
    CheckpointError
        If the file is missing, can't be read, or is not the registered one.
    RegistryError
        If the lock file is malformed.
    """
    path = checkpoint_path(checkpoint.file)
    with _reading(f"checkpoint {checkpoint.id}: {path}"):
        if not path.is_file():
            what = "is not a file" if path.exists() else "is missing"
            raise CheckpointError(f"checkpoint {checkpoint.id}: {path} {what}", remedy(checkpoint))
    check_hash(checkpoint, path, path)
    return path


def check_hash(checkpoint: Checkpoint, path: Path, place: Path, address: str | None = None) -> None:
    """Check a file's size and hash against its entry and the lock file, and write the hash down where it is new.

    Parameters
    ----------
    checkpoint : Checkpoint
        The entry.
    path : Path
        The file, which may still have another name.
    place : Path
        Where it lies or will lie: its name in the lock file.
    address : str, optional
        Where it came from just now; messages then speak of that server.

    Raises
    ------
    CheckpointError
        If it differs; :class:`WrongHashError` if it differs from what the entry itself says.
    """
    source = checkpoint.file
    published = bool(source.addresses or source.manual)
    if not (published or source.sha256 or source.sha256_prefix or source.size):
        return
    where = "the file it gave" if address else f"checkpoint {checkpoint.id}: {place}"
    with _reading(where):
        size, found = path.stat().st_size, sha256_file(path)
    expected = source.sha256 or source.sha256_prefix
    if expected and not found.startswith(expected):
        shown = found[:12] if len(expected) >= 12 else found[: len(expected)]
        raise WrongHashError(
            f"{where} has sha256 {shown}..., registered is {expected[:12]}...",
            f"the file is damaged or another one: {remedy(checkpoint)}",
        )
    if source.size not in (None, size):
        raise WrongHashError(f"{where} has {size:,} bytes, registered are {source.size:,}", remedy(checkpoint))
    if published and not source.sha256:
        pin = read_pin(place) or _pinned(checkpoint, place, found, size, address)
        if pin.sha256 != found:
            raise _changed(where, place, found, pin)


def _pinned(checkpoint: Checkpoint, place: Path, found: str, size: int, address: str | None) -> Pin:
    url = address or checkpoint.file.url
    pin = new_pin(checkpoint.id, url and public(url), found, size)
    try:
        return write_pin(place, pin)
    except OSError as error:
        warnings.warn(
            f"{pins_path()} can't be written ({error.strerror}): the hash of {place.name} is not kept", stacklevel=4
        )
        return pin


@contextmanager
def _reading(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{printable(where)} can't be read: {innermost(error)}",
            "correct its path, or the permissions of its folders",
        ) from error


def _changed(where: str, place: Path, found: str, pin: Pin) -> CheckpointError:
    date, entry = shown(pin.date[:10]), shown(pin.id)
    return CheckpointError(
        f"{where} has sha256 {found[:12]}..., but had {pin.sha256[:12]}... when it was first seen, on {date}",
        f"if the change is expected, delete the entry of {entry} from {pins_path()}; else delete the file and get"
        " the old one again",
    )
