"""A download in progress: the bytes so far, and what is needed to go on with them."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..common.files import write_text
from .errors import disk

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_VALIDATOR = re.compile(r'"[!#-~]{0,200}"|[A-Z][A-Za-z0-9 ,:+-]{0,60}')
_ABOUT = 4096


@dataclass(frozen=True)
class Part:
    """The partial file of one address beside its target: ``NAME.DIGEST.part``, and ``.part.json`` about its server.

    Parts of two addresses never mix. The name is known beforehand, and the folder may be shared: a link, or a file that
    is somebody else's, is neither followed nor written to, but replaced.
    """

    target: Path
    address: str

    @property
    def path(self) -> Path:
        """The bytes so far."""
        plain = re.sub(r"//[^/]*@", "//", self.address)  # a short digest of a password gives it away
        return self.target.with_name(f"{self.target.name}.{sha256(plain.encode()).hexdigest()[:8]}.part")

    @property
    def _about(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def state(self) -> tuple[int, str | None]:
        """Return how many bytes there are to go on with, and what If-Range may name: a strong ETag, or a date."""
        try:
            if _own_size(self._about) > _ABOUT:
                return 0, None
            about = json.loads(self._about.read_text(encoding="utf-8"))
            size = _own_size(self.path)
        except (OSError, ValueError, RecursionError):
            return 0, None
        validator = about.get("validator") if isinstance(about, dict) else None
        return size, validator if isinstance(validator, str) and _VALIDATOR.fullmatch(validator) else None

    def begin(self, headers: Mapping[str, str], *, resumable: bool = True) -> None:
        """Start from nothing, and note how the server names this version of the file."""
        tag = headers.get("ETag", "")
        validator = tag if tag.startswith('"') else headers.get("Last-Modified", "")
        self.discard()
        with disk(self.path):
            self.path.open("xb").close()
            if resumable:
                known = validator if _VALIDATOR.fullmatch(validator) else None
                write_text(self._about, json.dumps({"validator": known}))

    def append(self, chunks: Iterable[bytes]) -> Iterable[int]:
        """Write chunks at the end, and yield the size of each; what came before an error stays.

        Raises
        ------
        DiskError
            If the disk doesn't take them.
        """
        with disk(self.path):
            handle = open(self.path, "ab", buffering=0, opener=_open_no_link)  # noqa: SIM115 - Path.open has none
        with handle:
            for chunk in chunks:
                view = memoryview(chunk)
                with disk(self.path):
                    while view:
                        view = view[handle.write(view) :]
                yield len(chunk)

    def discard(self) -> None:
        """Delete it."""
        with disk(self.path):
            self.path.unlink(missing_ok=True)
            self._about.unlink(missing_ok=True)


def _own_size(path: Path) -> int:
    """Return the size of a plain file of this user's under no other name, or raise OSError."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != getattr(os, "geteuid", lambda: 0)():
        raise OSError("not a file of one's own")
    return found.st_size


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, (flags & ~os.O_CREAT) | _NOFOLLOW)
