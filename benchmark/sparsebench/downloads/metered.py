"""The bytes of a tar file, unpacked, for a reader that believes what its headers say."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from .errors import refused

CHUNK = 2**20
"""Most bytes read at once."""

_LONGEST = 64 * 2**10
_HEADERS = 32 * 2**20
_DIGITS = re.compile(rb"[0-9]{101}")
_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"]\0\0": lzma.open,
}


def unpacking(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked if its first bytes are those of gzip, bzip2, xz or lzma."""
    with path.open("rb") as handle:
        start = handle.read(6)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return cast(IO[bytes], opener(path, "rb"))
    return path.open("rb")


class Metered:
    """A stream with a limit on all that a header can ask of it: length, position, and bytes at once.

    ``tarfile`` reads a long name, or an extended header, as long as the archive says, into memory, and goes back where
    a size is negative. While ``listing``, reads are short and go forward, and all of them together are limited too.

    Parameters
    ----------
    stream : file
        What is read, from its beginning.
    limit : float
        Most bytes that it may have.
    """

    def __init__(self, stream: IO[bytes], limit: float) -> None:
        self._stream, self._limit = stream, limit
        self._headers = 0
        self.listing = True

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        if not 0 <= size <= (_LONGEST if self.listing else CHUNK):
            raise refused(f"a header in it asks for {size:,} bytes at once")
        data = self._stream.read(size)
        if self.listing:
            self._headers += len(data)
            if _DIGITS.search(data):  # older versions of tarfile look for a word after them in quadratic time
                raise refused("a header in it holds a number of more than 100 digits")
        if self._headers > _HEADERS or self._stream.tell() > self._limit:
            raise refused(f"it would become more than {self._limit:,.0f} bytes, or its headers more than {_HEADERS:,}")
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        """Go to a position."""
        if whence or not (self.tell() if self.listing else 0) <= position <= self._limit:
            raise refused(f"a header in it leads to byte {position:,}")
        return self._stream.seek(position)
