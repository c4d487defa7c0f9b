"""Find a checkpoint's file and check its hash before anything reads it."""

from __future__ import annotations

from pathlib import Path

from .files import sha256_file
from .resources import package_file
from .schema import Checkpoint, CheckpointError


def locate(checkpoint: Checkpoint) -> Path:
    """Return the path of a checkpoint's file, its hash checked where the entry has one.

    Raises
    ------
    CheckpointError
        If the file is missing or its sha256 is not the registered one.
    """
    source = checkpoint.file
    if source.path.startswith("package:"):
        path, again = package_file(source.path.removeprefix("package:")), "reinstall sparsebench"
    else:
        path = Path(source.path).expanduser()
        again = f"get it from {source.url}" if source.url else "put the file there or correct the entry's path"
    if not path.is_file():
        what = "is not a file" if path.exists() else "is missing"
        raise CheckpointError(f"checkpoint {checkpoint.id}: {path} {what}", again)
    if source.sha256 is not None:
        try:
            found = sha256_file(path)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {checkpoint.id}: {path} can't be read: {error.strerror}", again
            ) from error
        if found != source.sha256:
            raise CheckpointError(
                f"checkpoint {checkpoint.id}: {path} has sha256 {found[:12]}..., registered is {source.sha256[:12]}...",
                f"the file is damaged or another one: {again}",
            )
    return path
