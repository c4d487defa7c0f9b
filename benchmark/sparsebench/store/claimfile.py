"""A claim's file: made whole and exclusively, looked at, renewed and removed, on network file systems too."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..schema import Lenient
from .owner import Owner

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Claim(Lenient):
    """What a claim's file says. When it was last renewed is the file's date."""

    schema_version: int = 1
    run_id: str
    token: str
    owner: Owner
    lease_seconds: float
    taken: str  # ISO 8601, by the owner's clock


@dataclass(frozen=True)
class Standing:
    """A claim as it was found: ``claim`` is None where the file isn't one; ``renewed_ns`` is its date."""

    claim: Claim | None
    renewed_ns: int

    @property
    def token(self) -> str | None:
        """What tells it from a later claim of the same run."""
        return self.claim.token if self.claim else None


def look(path: Path) -> Standing | None:
    """Return the claim at ``path`` and its date; None if there is none.

    Raises
    ------
    OSError
        If that can't be found out.
    """
    claim = None
    try:
        with contextlib.suppress(ValidationError, PermissionError):
            claim = Claim.model_validate_json(path.read_bytes())
        return Standing(claim, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return None


def create(path: Path, claim: Claim) -> bool:
    """Make a claim's file, whole and exclusively; False if there is one already.

    Raises
    ------
    OSError
        If the disk is full, say.
    """
    data = text(claim).encode()
    temporary = _beside(path)
    try:
        temporary.write_bytes(data)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with contextlib.suppress(FileExistsError), path.open("xb") as handle:  # exclusive as well, if not whole
                handle.write(data)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    standing = look(path)  # not what the call said: an answer may be lost on the way, and the call repeated
    return standing is not None and standing.token == claim.token


def text(claim: Claim) -> str:
    """Return what a claim's file holds."""
    return claim.model_dump_json(indent=1) + "\n"


def renew(path: Path, claim: Claim) -> bool:
    """Date a claim's file anew, or make it again if it has been deleted; False if it is another's by now.

    Raises
    ------
    OSError
        If that can't be done at the moment.
    """
    standing = look(path)
    if standing is None:
        return create(path, claim)
    if standing.token != claim.token:
        return False
    os.utime(path)
    return True


def remove(path: Path, expected: Standing) -> bool:
    """Remove a claim if it is still the one that was seen; of several processes only one does."""
    aside = _beside(path)
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
    moved = look(aside)
    if moved is None:
        return False
    same = moved == expected
    if not same:  # it has been renewed or taken over since: put it back
        with contextlib.suppress(OSError):
            path.hardlink_to(aside)
    with contextlib.suppress(OSError):
        aside.unlink()
    return same


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")
