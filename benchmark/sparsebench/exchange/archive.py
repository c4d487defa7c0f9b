"""The zip file of a bundle, read member by member: nothing is unpacked to disk, nor beyond what a member may have."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from ..schema.text import printable
from . import limits
from .arrays import FOREIGN, METHODS, Sparing, read_predictions
from .documents import most_values, read_json
from .members import ENTRIES, FORMAT, MANIFEST, VERSION, limit_of
from .problems import BundleError

if TYPE_CHECKING:
    from ..store.predictions import Predictions

_CHUNK = 2**16
_ENCRYPTED = 0x1
_FIRST, _LAST, _END_BYTES = b"PK\x03\x04", b"PK\x05\x06", 22
_HEADER_BYTES = 30


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
        self.path, self.name = path, printable(path.name)
        self._values = self._arrays = 0
        self._file = _open(path)
        try:
            _check_ends(self._file)
            self.sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]
            self._zip = zipfile.ZipFile(Sparing(self._file, limits.DIRECTORY))
            self._members = _checked(self._zip.infolist())
            _check_places(self._zip)
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
        data = self.read(name)
        self._values += most_values(data)
        if self._values > limits.VALUES:
            raise BundleError("file", self.name, f"has more than {limits.VALUES} values in its JSON members")
        return read_json(data, name)

    def predictions(self, name: str) -> Predictions:
        """Return the predictions in a member; see :meth:`read` and :func:`.arrays.read_predictions`."""
        kept = read_predictions(self.read(name), name)
        self._arrays += sum(array.nbytes for array in (kept.labels, kept.predicted, kept.logits) if array is not None)
        if self._arrays > limits.UNPACKED:
            raise BundleError("file", self.name, f"has arrays of more than {limits.UNPACKED} bytes")
        return kept

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
    where = printable(str(path))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleError("file", where, "is not a file", "give a bundle: sparsebench export-results")
        if status.st_size > limits.FILE:
            raise BundleError("file", where, f"has {status.st_size} bytes, {limits.FILE} are the limit")
        return path.open("rb")
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise BundleError("file", where, f"can't be read: {why}", "correct the path") from error


def _check_ends(file: BinaryIO) -> None:
    """Check that a zip file begins and ends with the file: one that is cut off may end inside of another archive."""
    first = file.read(len(_FIRST))
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    last = file.read(_END_BYTES)
    file.seek(0)
    if first != _FIRST or not last.startswith(_LAST) or len(last) < _END_BYTES:
        raise ValueError("it is cut off, or something else")


def _check_places(archive: zipfile.ZipFile) -> None:
    """Check that members lie one after the other from the start of the file: what lies in another is packed twice."""
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if end == 0 and info.header_offset != 0:
            raise BundleError("file", "the bundle", "has something before its first member")
        if info.header_offset < end:
            raise BundleError("member", info.filename, "lies inside of another member")
        end = info.header_offset + _HEADER_BYTES + len(info.orig_filename.encode()) + info.compress_size
    if end > archive.start_dir:
        raise BundleError("file", "the bundle", "has a member that reaches into its table of members")


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
        if info.compress_type not in METHODS:
            raise BundleError("member", name, "is packed in another way than deflate")
        if info.file_size > most:
            raise BundleError("member", name, f"unpacks to {info.file_size} bytes, {most} are the limit")
        members[name] = info
    total = sum(info.file_size for info in found)
    if total > limits.UNPACKED:
        raise BundleError("file", "the bundle", f"unpacks to {total} bytes, {limits.UNPACKED} are the limit")
    texts = sum(info.file_size for name, info in members.items() if name.endswith(".json"))
    if texts > limits.JSON:
        raise BundleError("file", "the bundle", f"has JSON of {texts} bytes, {limits.JSON} are the limit")
    records = sum(name.startswith("records/") for name in members)
    if records > limits.RECORDS:
        raise BundleError("file", "the bundle", f"has {records} records, {limits.RECORDS} are the limit")
    return members


def _reason(error: BaseException) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text or type(error).__name__
