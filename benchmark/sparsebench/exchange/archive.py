"""The zip file of a bundle, read member by member: nothing is unpacked to disk, nor beyond what a member may have."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO

from . import limits
from .documents import read_json
from .members import ENTRIES, FORMAT, MANIFEST, VERSION, limit_of
from .problems import BundleError

_CHUNK = 2**16
_ENCRYPTED = 0x1
_FIRST, _LAST, _END_BYTES = b"PK\x03\x04", b"PK\x05\x06", 22
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
FOREIGN = (
    OSError, ValueError, KeyError, IndexError, EOFError, TypeError, AttributeError, MemoryError, OverflowError,
    RecursionError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error,
    struct.error,
)  # fmt: skip
"""What reading a damaged archive may raise."""


class Bundle:
    """A bundle that is open for reading, its members known and listed; use as a context.

    Parameters
    ----------
    path : Path
        The zip file.

    Raises
    ------
    BundleError
        If it isn't one, is too large, or has members that no bundle has.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self._file = _open(path)
        try:
            _check_ends(self._file)
            self.sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]
            self._zip = zipfile.ZipFile(_Sparing(self._file))
            self._members = _checked(self._zip.infolist())
            self.listed = self._manifest()
        except BundleError:
            self._file.close()
            raise
        except FOREIGN as error:
            self._file.close()
            raise BundleError("file", self.name, f"is not a zip file that can be read: {_reason(error)}") from error

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def names(self, folder: str) -> list[str]:
        """Return the members in a folder, sorted."""
        return sorted(name for name in self._members if name.startswith(f"{folder}/"))

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """Return a member's bytes, once they are those that the manifest lists.

        Raises
        ------
        BundleError
            If it is missing, damaged, larger than it may be, or of another hash.
        """
        data = self._unpacked(name)
        if hashlib.sha256(data).hexdigest() != self.listed[name]:
            raise BundleError("hash", name, "is not what the manifest lists (sha256)")
        return data

    def json(self, name: str) -> dict[str, Any]:
        """Return the object in a JSON member; see :meth:`read` and :func:`.documents.read_json`."""
        return read_json(self.read(name), name)

    def _unpacked(self, name: str) -> bytes:
        if name not in self._members:
            raise BundleError("member", self.name, f"lacks {name}")
        info, most = self._members[name], limit_of(name) or 0
        parts, size = [], 0
        try:
            with self._zip.open(info) as handle:
                while chunk := handle.read(_CHUNK):
                    size += len(chunk)
                    if size > most:
                        raise BundleError("member", name, f"unpacks to more than {most >> 20} MiB")
                    parts.append(chunk)
        except BundleError:
            raise
        except FOREIGN as error:
            raise BundleError("member", name, f"can't be unpacked: {_reason(error)}") from error
        return b"".join(parts)

    def _manifest(self) -> dict[str, str]:
        """Return the hashes of the members, which are those that are there."""
        document = read_json(self._unpacked(MANIFEST), MANIFEST)
        if document.get("format") != FORMAT:
            raise BundleError("member", MANIFEST, f"is not of a bundle: its format is not {FORMAT!r}")
        version = document.get("version")
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
            hint = "upgrade sparsebench" if isinstance(version, int) and version > VERSION else None
            raise BundleError("member", MANIFEST, f"has version {version!r}, this sparsebench reads {VERSION}", hint)
        members = document.get("members")
        if not isinstance(members, dict):
            raise BundleError("member", MANIFEST, "lists no members")
        listed = {}
        for name, entry in members.items():
            if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
                raise BundleError("member", MANIFEST, f"lists {name!r} without its sha256")
            listed[name] = entry["sha256"]
        there = self._members.keys() - {MANIFEST}
        if absent := sorted(listed.keys() - there):
            raise BundleError("member", self.name, f"lacks {absent[0]!r}, which its manifest lists")
        if unlisted := sorted(there - listed.keys()):
            raise BundleError("member", self.name, f"has {unlisted[0]!r}, which its manifest doesn't list")
        if ENTRIES not in listed:
            raise BundleError("member", self.name, f"lacks {ENTRIES}")
        return listed


def _open(path: Path) -> BinaryIO:
    """Open a regular file of a size that a bundle may have."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleError("file", str(path), "is not a file", "give a bundle: sparsebench export-results")
        if status.st_size > limits.FILE:
            raise BundleError("file", path.name, f"has {status.st_size} bytes, {limits.FILE} are the limit")
        return path.open("rb")
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise BundleError("file", str(path), f"can't be read: {why}", "correct the path") from error


def _check_ends(file: BinaryIO) -> None:
    """Check that a zip file begins and ends with the file: one that is cut off may end inside of another archive."""
    first = file.read(len(_FIRST))
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    last = file.read(_END_BYTES)
    file.seek(0)
    if first != _FIRST or not last.startswith(_LAST) or len(last) < _END_BYTES:
        raise ValueError("it is cut off, or something else")


def _checked(found: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name, once each is one that a bundle has."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in found:
        name, mode = info.filename, info.external_attr >> 16
        if name in members:
            raise BundleError("member", name, "is there twice")
        if info.orig_filename != name or name.startswith(("/", "\\")) or ".." in PurePosixPath(name).parts:
            raise BundleError("member", info.orig_filename, "names a place outside of the bundle")
        most = limit_of(name)
        if most is None:
            raise BundleError("member", name, "is no member of a bundle", "write it with: sparsebench export-results")
        if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
            raise BundleError("member", name, "is a link" if stat.S_ISLNK(mode) else "is no file")
        if info.flag_bits & _ENCRYPTED:
            raise BundleError("member", name, "is encrypted")
        if info.compress_type not in _METHODS:
            raise BundleError("member", name, "is packed in another way than deflate")
        if info.file_size > most:
            raise BundleError("member", name, f"unpacks to {info.file_size} bytes, {most} are the limit")
        members[name] = info
    total = sum(info.file_size for info in found)
    if total > limits.UNPACKED:
        raise BundleError("file", "the bundle", f"unpacks to {total} bytes, {limits.UNPACKED} are the limit")
    records = sum(name.startswith("records/") for name in members)
    if records > limits.RECORDS:
        raise BundleError("file", "the bundle", f"has {records} records, {limits.RECORDS} are the limit")
    return members


class _Sparing:
    """A file that gives no more at once than a table of members may have: ``zipfile`` reads that as a whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        most = limits.DIRECTORY
        if size is not None and size > most:
            raise BundleError("file", "the bundle", f"its table of members has {size} bytes, {most} are the limit")
        data = self._file.read(most + 1 if size is None or size < 0 else size)
        if len(data) > most:
            raise BundleError("file", "the bundle", f"its table of members has more than {most} bytes")
        return data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def _reason(error: BaseException) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text or type(error).__name__
