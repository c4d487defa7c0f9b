"""Take one file out of an archive, without trusting the archive.

No name in it is used as a path: the bytes go where the caller says. Links, devices, entries that lead out of it and
entries that unpack to far more than they were are refused.
"""

from __future__ import annotations

import fnmatch
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from .errors import TransferError
from .pages import shown

RATIO = 200
"""Most bytes that a byte of an archive may become: weights of 99 % zeros shrink some thirtyfold."""

FREE = 64 * 2**20
"""Bytes that any archive may become."""

_ENTRIES = 100_000
_CHUNK = 1 << 20


def extract(archive: Path, member: str, target: Path) -> None:
    """Write an archive's member to ``target``.

    Parameters
    ----------
    archive : Path
        A tar file, compressed or not, or a zip file.
    member : str
        Its name in the archive, or a pattern that one file alone fits.
    target : Path
        Written anew.

    Raises
    ------
    TransferError
        If the archive is damaged or refused, or no file or several fit.
    """
    limit = max(FREE, RATIO * archive.stat().st_size)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as box, _found_in_zip(box, member, limit) as source:
                _copy(source, target, limit)
        else:
            with tarfile.open(archive, "r:*") as tar:
                _copy(_found_in_tar(tar, member, limit), target, limit)
                _read_to_the_end(tar, limit)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, zlib.error, NotImplementedError) as error:
        raise _damaged(error) from error
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's
        raise _damaged(error) from error


def _found_in_tar(tar: tarfile.TarFile, member: str, limit: float) -> IO[bytes]:
    infos: dict[str, tarfile.TarInfo] = {}
    total = 0
    for count, info in enumerate(tar):
        total += info.size
        _check_entry(info.name, count, total, limit)
        infos[info.name] = info
    info = infos[_one(member, [name for name, i in infos.items() if not i.isdir()])]
    source = tar.extractfile(info) if info.isreg() else None
    if source is None:
        raise _refused(f"{shown(info.name)!r} is a link or a device, not a file")
    return source


@contextmanager
def _found_in_zip(box: zipfile.ZipFile, member: str, limit: float) -> Iterator[IO[bytes]]:
    total = 0
    for count, info in enumerate(box.infolist()):
        total += info.file_size
        _check_entry(info.filename, count, total, limit)
    info = box.getinfo(_one(member, [i.filename for i in box.infolist() if not i.is_dir()]))
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or info.flag_bits & 1:
        raise _refused(f"{shown(info.filename)!r} is a link, a device or encrypted, not a file")
    with box.open(info) as source:
        yield source


def _one(member: str, names: list[str]) -> str:
    """Return the name that a member's name or pattern means."""
    plain = {name.removeprefix("./"): name for name in names}
    wanted = member.removeprefix("./")
    found = [wanted] if wanted in plain else fnmatch.filter(plain, wanted)
    if len(found) == 1:
        return plain[found[0]]
    which = ", ".join(shown(name) for name in sorted(found or plain)[:5]) or "nothing"
    what = f"{len(found)} files fit" if found else "there is no"
    raise TransferError(f"the archive isn't as registered: {what} {member!r}; it holds {which}", again=False)


def _check_entry(name: str, count: int, total: int, limit: float) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name.partition("/")[0]:
        raise _refused(f"{shown(name)!r} leads out of it")
    if total > limit or count >= _ENTRIES:
        raise _refused(f"it would become more than {limit:,.0f} bytes or {_ENTRIES:,} files")


def _copy(source: IO[bytes], target: Path, limit: float) -> None:
    written = 0
    with target.open("wb") as handle:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > limit:
                raise _refused(f"it would become more than {limit:,.0f} bytes")
            handle.write(chunk)


def _read_to_the_end(tar: tarfile.TarFile, limit: float) -> None:
    """Let the compression check its sum, which stands behind the last byte."""
    read = 0
    while tar.fileobj is not None and (chunk := tar.fileobj.read(_CHUNK)):
        read += len(chunk)
        if read > limit:
            raise _refused(f"it would become more than {limit:,.0f} bytes")


def _refused(reason: str) -> TransferError:
    return TransferError(f"an archive that is not safe to unpack: {reason}", again=False)


def _damaged(error: Exception) -> TransferError:
    return TransferError(f"a damaged archive: {shown(str(error)) or type(error).__name__}", again=False)
