from __future__ import annotations

import bz2
import gzip
import io
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from entries import SHA, entry
from file_server import BODY, FileServer, file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsebench.downloads import Fetcher, FetchError, archive, locate
from sparsebench.downloads.errors import TransferError


def tar(*members: tuple[str, bytes | str], mode: str = "w:gz") -> bytes:
    """An archive of files (bytes) and symbolic links (text: where to)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as box:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                box.addfile(info)
            else:
                info.size = len(content)
                box.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(*members: tuple[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as box:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if isinstance(content, str) else 0o100644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            box.writestr(info, content)
    return buffer.getvalue()


GOOD = ("s90/model.pth", BODY)


@pytest.mark.parametrize("packed", [tar(GOOD), tar(GOOD, mode="w"), tar(GOOD, mode="w:xz"), zipped(GOOD)])
@pytest.mark.parametrize("member", ["s90/model.pth", "./s90/model.pth", "*/model.*"])
def test_a_member_is_unpacked_and_checked(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, packed: bytes, member: str
) -> None:
    wanted = entry(server.on("/s90.tar.gz", file(packed)), member=member, sha256=SHA, size=len(BODY))
    assert fetcher.fetch(wanted).read_bytes() == BODY
    assert locate(wanted) == checkpoints / "r50.pth"
    assert {path.name for path in checkpoints.iterdir() if path.name[0] != "."} == {"r50.pth"}


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (tar(("../model.pth", BODY)), r"not safe to unpack: '\.\./model\.pth' leads out of it"),
        (tar(GOOD, ("a/../../x", b"x")), "leads out of it"),
        (tar(("/srv/model.pth", BODY)), "leads out of it"),
        (tar(("model.pth", "/etc/passwd")), "'model.pth' is a link or a device"),
        (tar(("real", b"x"), ("model.pth", "real")), "'model.pth' is a link or a device"),
        (zipped(("../model.pth", BODY)), "leads out of it"),
        (zipped(("..\\model.pth", BODY)), "leads out of it"),
        (zipped(("C:/model.pth", BODY)), "leads out of it"),
        (zipped(("model.pth", "/etc/passwd")), "is a link, a device or encrypted"),
        (tar(("other.txt", BODY)), "there is no '\\*model.pth'; it holds other.txt"),
        (tar(GOOD, ("s95/model.pth", BODY)), "2 files fit '\\*model.pth'; it holds s90/model.pth, s95/model.pth"),
        (tar(GOOD)[:1000], "a damaged archive"),
        (tar(GOOD)[:-6], "a damaged archive"),
        (tar(GOOD)[:-8] + bytes(8), "a damaged archive"),
        (zipped(GOOD)[:-30], "a damaged archive"),
        (BODY, "a damaged archive"),
    ],
)
def test_an_archive_that_cannot_be_trusted_is_refused(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, packed: bytes, message: str
) -> None:
    with pytest.raises(FetchError, match=message):
        fetcher.fetch(entry(server.on("/a", file(packed)), member="*model.pth"))
    assert {path.name for path in checkpoints.iterdir() if path.name[0] != "."} == set()
    assert {path.name for path in checkpoints.parent.iterdir()} == {"checkpoints"}


@pytest.mark.parametrize("pack", [tar, zipped])
@pytest.mark.parametrize("bomb", ["model.pth", "another"])
def test_a_bomb_is_not_unpacked(
    server: FileServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, pack: object, bomb: str
) -> None:
    monkeypatch.setattr(archive, "FREE", 100_000)
    packed = pack((bomb, bytes(3_000_000)), ("model.pth" if bomb == "another" else "x", b"x"))  # type: ignore[operator]
    with pytest.raises(FetchError, match=r"it would become more than [\d,]+ bytes"):
        fetcher.fetch(entry(server.on("/a", file(packed)), member="model.pth"))


def header(name: str = "model.pth", size: int = 0, kind: bytes = tarfile.REGTYPE, field: bytes | None = None) -> bytes:
    """A block of a tar file with a size of any kind."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = field or size.to_bytes(12, "big", signed=True) if size < 0 else field or b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def holes(size: int) -> bytes:
    """A sparse member, as GNU tar writes it, with nothing but holes."""
    block = bytearray(header(kind=tarfile.GNUTYPE_SPARSE))
    block[386:398] = block[398:410] = b"%011o\0" % 0
    block[483:495] = b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax_holes(size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as box:
        info = tarfile.TarInfo("model.pth")
        info.pax_headers = {"GNU.sparse.size": str(size), "GNU.sparse.map": f"{size},0", "GNU.sparse.numblocks": "1"}
        box.addfile(info)
    return buffer.getvalue()


LONG = tarfile.GNUTYPE_LONGNAME
END = bytes(1024)


HURTFUL = (
    lambda: holes(8 * 2**30 - 1) + END,
    lambda: gzip.compress(holes(8 * 2**30 - 1) + END),
    lambda: pax_holes(2**40),
    lambda: pax_holes(-5),
    lambda: header(size=-512) + END,
    lambda: header(field=b"\xff" * 10 + b"\xfc\0") * 3 + END,
    lambda: header(size=-(2**60)) + header(size=2**40) + END,
    lambda: header(size=8 * 2**30 - 1) + END,
    lambda: header(kind=LONG, size=8 * 2**30 - 1) + END,
    lambda: header(kind=LONG, size=-1024) + END,
    lambda: gzip.compress(header(kind=LONG, size=2**27) + bytes(2**27) + header() + END),
    lambda: gzip.compress(header(kind=tarfile.XHDTYPE, size=2**27) + b"1" * 2**27 + header() + END),
    lambda: (header(kind=LONG, size=2) + padded(b"a\0")) * 2000 + header() + END,
    lambda: gzip.compress((header(kind=LONG, size=2) + padded(b"a\0")) * 100_000),
    lambda: gzip.compress(header("x") * 2000 + END),
    lambda: gzip.compress(bytes(2**28)),
    lambda: bz2.compress(header(size=2**28) + bytes(2**28)),
    lambda: header(kind=tarfile.XHDTYPE, size=40) + padded(b"9" * 5000),
    lambda: header(kind=tarfile.XHDTYPE, size=60_000) + padded(b"1" * 60_000),
    lambda: header(kind=tarfile.CHRTYPE) + END,
    lambda: header(kind=tarfile.FIFOTYPE) + END,
    lambda: header(kind=tarfile.LNKTYPE) + END,
    lambda: header(kind=b"\xff") + b"\xff" * 512,
    lambda: b"\x1f\x8b\x08" + bytes(100),
    lambda: b"\x1f\x8b\x08\x04" + b"\0" * 6 + b"\xff\xff",
    lambda: b"BZh9" + bytes(100),
    lambda: b"\xfd7zXZ\0" + bytes(100),
    lambda: b"]\0\0" + b"\xff" * 100,
    lambda: b"PK\3\4" + bytes(100),
    lambda: b"PK\5\6" + b"\xff" * 18,
    lambda: b"",
    lambda: b"PK",
)
"""Each makes an archive; some compress hundreds of megabytes, so that they are made when they are used."""


@pytest.mark.parametrize("made", range(len(HURTFUL)))
def test_an_archive_made_to_hurt_is_refused_soon_and_the_mirror_asked(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_ENTRIES", 1000)
    packed = HURTFUL[made]()
    tracemalloc.start()
    mirror = server.on("/b", file(tar(GOOD, mode="w")))
    try:
        wanted = entry(server.on("/a", file(packed)), mirrors=[mirror], member="*model.pth")
        assert fetcher.fetch(wanted).read_bytes() == BODY
        assert tracemalloc.get_traced_memory()[1] < 150e6
    finally:
        tracemalloc.stop()
    assert len(server.requests) == 2
    assert {path.name for path in checkpoints.iterdir() if path.name[0] != "."} == {"r50.pth", "sparsebench.lock.yaml"}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_limit_are_refused(server: FileServer, fetcher: Fetcher, method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as box:
        box.writestr("model.pth", bytes(1000))
    with pytest.raises(FetchError, match="packed by another method than deflate"):
        fetcher.fetch(entry(server.on("/a", file(buffer.getvalue())), member="model.pth"))


def test_a_zip_that_says_less_than_it_holds_is_refused(server: FileServer, fetcher: Fetcher) -> None:
    packed = zipped(("model.pth", bytes(5_000_000))).replace(
        (5_000_000).to_bytes(4, "little"), (7).to_bytes(4, "little")
    )
    with pytest.raises(FetchError, match="a damaged archive"):
        fetcher.fetch(entry(server.on("/a", file(packed)), member="model.pth"))


def test_small_holes_are_filled(server: FileServer, fetcher: Fetcher) -> None:
    assert fetcher.fetch(entry(server.on("/a", file(holes(1000) + END)), member="*")).read_bytes() == bytes(1000)


def test_a_registered_size_is_held_while_unpacking(server: FileServer, fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match="would become more than 1,000 bytes"):
        fetcher.fetch(entry(server.on("/a", file(tar(GOOD))), member="*.pth", size=1000))


def test_a_tar_file_that_ends_with_a_zip_file_is_a_tar_file(server: FileServer, fetcher: Fetcher) -> None:
    inner = zipped(("model/data.pkl", b"x"))  # as torch.save writes
    wanted = entry(server.on("/a", file(tar(("s90/model.pth", inner), mode="w"))), member="*.pth")
    assert fetcher.fetch(wanted).read_bytes() == inner


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["w", "w:gz", "w:bz2", "w:xz", "zip"]), st.lists(st.tuples(st.integers(0), st.binary(max_size=4)))
)
def test_a_changed_archive_gives_the_member_or_an_error_in_words(
    tmp_path: Path, mode: str, changes: list[tuple[int, bytes]]
) -> None:
    content = BODY[:3000]
    packed = bytearray(zipped(("model.pth", content)) if mode == "zip" else tar(("model.pth", content), mode=mode))
    for place, change in changes:
        place %= len(packed)
        packed[place : place + len(change)] = change
    source, target = tmp_path / "archive", tmp_path / "member"
    source.write_bytes(packed)
    target.unlink(missing_ok=True)
    try:
        archive.extract(source, "model.pth", target)
    except TransferError as error:
        assert str(error).isprintable()  # noqa: PT017 - both outcomes are right
    else:
        assert len(target.read_bytes()) <= archive.most_of(len(packed))


def test_a_wrong_member_is_not_put_in_place(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    wanted = entry(server.on("/a", file(tar(GOOD))), member="s90/model.pth", sha256="0" * 64)
    with pytest.raises(FetchError, match="the file it gave has sha256"):
        fetcher.fetch(wanted)
    assert not (checkpoints / "r50.pth").exists()
