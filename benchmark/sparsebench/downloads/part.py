"""A download in progress: the bytes so far, and what is needed to go on with them."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..files import write_text
from .errors import DiskError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Part:
    """The partial file of one address beside its target: ``NAME.DIGEST.part``, and ``.part.json`` about its server.

    Parts of two addresses never mix.
    """

    target: Path
    address: str

    @property
    def path(self) -> Path:
        """The bytes so far."""
        return self.target.with_name(f"{self.target.name}.{sha256(self.address.encode()).hexdigest()[:8]}.part")

    @property
    def _about(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def size(self) -> int:
        """Return how many bytes there are."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def validator(self) -> str | None:
        """Return what If-Range may name: the server's strong ETag or its date of the bytes so far."""
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
            return str(about["validator"]) if about["validator"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, headers: Mapping[str, str]) -> None:
        """Start from nothing, and note how the server names this version of the file."""
        tag = headers.get("ETag", "")
        validator = tag if tag.startswith('"') else headers.get("Last-Modified")
        with _Disk(self):
            self.path.write_bytes(b"")
            write_text(self._about, json.dumps({"address": self.address, "validator": validator}))

    def append(self, chunks: Iterable[bytes]) -> Iterable[int]:
        """Write chunks at the end, and yield the size of each; what came before an error stays.

        Raises
        ------
        DiskError
            If the disk doesn't take them.
        """
        with _Disk(self):
            handle = self.path.open("ab", buffering=0)
        with handle:
            for chunk in chunks:
                view = memoryview(chunk)
                with _Disk(self):
                    while view:
                        view = view[handle.write(view) :]
                yield len(chunk)

    def discard(self) -> None:
        """Delete it."""
        for path in (self.path, self._about):
            with suppress(FileNotFoundError):
                path.unlink()


@dataclass(frozen=True)
class _Disk:
    """Turns an error of the disk into one that says so."""

    part: Part

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        folder, name = self.part.target.parent, self.part.path.name
        if error.errno in _FULL:
            raise DiskError(
                f"{folder} is full: {error.strerror} after {self.part.size():,} bytes of {self.part.target.name}",
                f"make room and run the same command again: it goes on from {name}",
            ) from error
        raise DiskError(f"{folder} can't be written: {error.strerror}", "choose another folder, or its permissions")
