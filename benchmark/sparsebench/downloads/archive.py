"""Take one file out of an archive, without trusting the archive.

No name in it is used as a path: the bytes go where the caller says. Links, devices, entries that lead out of it and
entries that unpack to far more than they were are refused. What is unpacked is counted twice: by what the archive says
of itself, before anything is written, and by what really comes out of it.
"""

from __future__ import annotations

import fnmatch
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from .errors import TransferError, disk, foreign, refused
from .metered import CHUNK, Metered, unpacking
from .words import shown

RATIO = 200
"""Most bytes that a byte of an archive may become: weights of 99 % zeros shrink some thirtyfold."""

FREE = 64 * 2**20
"""Bytes that any archive may become."""

_ENTRIES = 10_000


def most_of(size: float) -> float:
    """Return the bytes that ``size`` packed bytes may become."""
    return max(FREE, RATIO * size)


def extract(archive: Path, member: str, target: Path, size: int | None = None) -> None:
    """Write an archive's member to ``target``.

    Parameters
    ----------
    archive : Path
        A tar file, compressed or not, or a zip file.
    member : str
        Its name in the archive, or a pattern that one file alone fits.
    target : Path
        Written anew.
    size : int, optional
        The bytes that the member must have.

    Raises
    ------
    TransferError
        If the archive is damaged or refused, or no file or several fit.
    DiskError
        If the disk doesn't take the member.
    """
    with foreign("a damaged archive"):
        with archive.open("rb") as handle:
            start = handle.read(4)  # not the end: a tar file may end with a .pth file, a zip file
        limit = most_of(archive.stat().st_size)
        found = _found_in_zip if start in (b"PK\3\4", b"PK\5\6") else _found_in_tar
        with found(archive, member, limit) as source:
            _copy(source, target, limit if size is None else min(limit, size))


@contextmanager
def _found_in_tar(archive: Path, member: str, limit: float) -> Iterator[IO[bytes]]:
    with unpacking(archive) as stream:
        metered = Metered(stream, limit)
        with tarfile.open(fileobj=cast(IO[bytes], metered), mode="r:") as tar:
            infos: dict[str, tarfile.TarInfo] = {}
            entries = _Entries(limit)
            for info in tar:
                entries.add(info.name, info.size)
                infos[info.name] = info
            info = infos[_one(member, [name for name, i in infos.items() if not i.isdir()])]
            metered.listing = False
            source = tar.extractfile(info) if info.isreg() else None
            if source is None:
                raise refused(f"{shown(info.name)!r} is a link or a device, not a file")
            yield source
            while metered.read(CHUNK):  # the compression's sum follows the last byte
                pass


@contextmanager
def _found_in_zip(archive: Path, member: str, limit: float) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(archive) as box:
        entries = _Entries(limit)
        for info in box.infolist():
            entries.add(info.filename, info.file_size)
        info = box.getinfo(_one(member, [i.filename for i in box.infolist() if not i.is_dir()]))
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or info.flag_bits & 1:
            raise refused(f"{shown(info.filename)!r} is a link, a device or encrypted, not a file")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others are unpacked without a limit
            raise refused(f"{shown(info.filename)!r} is packed by another method than deflate")
        with box.open(info) as source:
            yield source


class _Entries:
    """Counts what an archive says of itself, and refuses what no archive of weights says."""

    def __init__(self, limit: float) -> None:
        self._limit, self._count, self._total = limit, 0, 0

    def add(self, name: str, size: int) -> None:
        """Count one entry of ``size`` bytes."""
        self._count += 1
        self._total += size
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name.partition("/")[0]:
            raise refused(f"{shown(name)!r} leads out of it")
        if size < 0 or self._total > self._limit or self._count > _ENTRIES:
            raise refused(f"it would become more than {self._limit:,.0f} bytes or {_ENTRIES:,} files")


def _one(member: str, names: list[str]) -> str:
    """Return the name that a member's name or pattern means."""
    plain = {name.removeprefix("./"): name for name in names}
    wanted = member.removeprefix("./")
    found = [wanted] if wanted in plain else fnmatch.filter(plain, wanted)
    if len(found) == 1:
        return plain[found[0]]
    which = ", ".join(shown(name) for name in sorted(found or plain)[:5]) or "nothing"
    what = f"{len(found)} files fit" if found else "there is no"
    raise TransferError(f"the archive isn't as registered: {what} {member!r}; it holds {which}")


def _copy(source: IO[bytes], target: Path, limit: float) -> None:
    with disk(target):
        target.unlink(missing_ok=True)
        handle = target.open("xb")  # a new file: a link under this name is not followed
    with handle:
        written = 0
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > limit:
                raise refused(f"{target.name} would become more than {limit:,.0f} bytes")
            with disk(target):
                handle.write(chunk)
