from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from entries import SHA, entry
from file_server import BODY, FileServer, file

from sparsebench.downloads import Fetcher, FetchError, archive, locate


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


def test_a_wrong_member_is_not_put_in_place(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    wanted = entry(server.on("/a", file(tar(GOOD))), member="s90/model.pth", sha256="0" * 64)
    with pytest.raises(FetchError, match="the file it gave has sha256"):
        fetcher.fetch(wanted)
    assert not (checkpoints / "r50.pth").exists()
