"""A shared folder in which somebody has put links, and addresses that hold a password."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest
from entries import SHA, Notes, entry
from file_server import BODY, FileServer, cut, file, page, status
from test_archive_members import GOOD, tar

from sparsebench.common.paths import installed_file
from sparsebench.downloads import Fetcher, FetchError, checkpoint_path, find_state, locate
from sparsebench.downloads.part import Part
from sparsebench.downloads.words import host, public, shown
from sparsebench.schema import CheckpointError, FileSource, RegistryError


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim.txt"
    path.write_bytes(b"precious" * 1000)
    return path


def link(path: Path, victim: Path, kind: str) -> None:
    path.parent.mkdir(exist_ok=True)
    if kind == "symbolic":
        path.symlink_to(victim)
    elif kind == "hard":
        path.hardlink_to(victim)
    elif kind == "dangling":
        path.symlink_to(victim.with_name("new.txt"))
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("kind", ["symbolic", "hard", "dangling", "pipe"])
@pytest.mark.parametrize("about", [False, True])
@pytest.mark.parametrize("ending", [".part", ".part.json", ".part.member"])
def test_what_somebody_put_under_a_name_of_ours_is_not_written_to(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, victim: Path, kind: str, about: bool, ending: str
) -> None:
    member = "s90/model.pth" if ending == ".part.member" else None
    wanted = entry(server.on("/r50", file(tar(GOOD) if member else BODY)), sha256=SHA, member=member)
    part = Part(checkpoints / "r50.pth", wanted.file.url or "").path
    link(part.with_name(part.name + ending.removeprefix(".part")), victim, kind)
    if about and ending == ".part":
        part.with_name(part.name + ".json").write_text('{"validator": "\\"v1\\""}')
    assert fetcher.fetch(wanted).read_bytes() == BODY
    assert victim.read_bytes() == b"precious" * 1000
    assert not victim.with_name("new.txt").exists()
    assert not (checkpoints / "r50.pth").is_symlink()
    assert {path.name for path in checkpoints.iterdir()} == {"r50.pth", ".r50.pth.lock"}


@pytest.mark.parametrize("ending", ["", ".json", ".member"])
def test_a_folder_under_a_name_of_ours_is_an_error_of_ours(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, ending: str
) -> None:
    wanted = entry(server.on("/r50", file(tar(GOOD))), sha256=SHA, member="s90/model.pth")
    part = Part(checkpoints / "r50.pth", wanted.file.url or "").path
    (part.with_name(part.name + ending) / "x").mkdir(parents=True)
    with pytest.raises(FetchError, match=r"can't be written: .*r50\.pth"):
        fetcher.fetch(wanted)


@pytest.mark.parametrize("name", [".r50.pth.lock", "r50.pth"])
def test_a_lock_or_a_place_that_is_a_link_is_not_written_through(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, victim: Path, name: str
) -> None:
    link(checkpoints / name, victim, "symbolic" if name[0] == "." else "dangling")
    with contextlib.suppress(FetchError):  # either way the victim is what counts
        fetcher.fetch(entry(server.on("/r50", file()), sha256=SHA))
    assert victim.read_bytes() == b"precious" * 1000
    assert not victim.with_name("new.txt").exists()


@pytest.mark.parametrize(
    "about", ["", "[" * 4000, "3", "null", '{"validator": 3}', '{"validator": "\\r\\nX: y"}', "{" + " " * 10_000 + "}"]
)
def test_notes_of_a_part_that_make_no_sense_are_not_used(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, about: str
) -> None:
    wanted = entry(server.on("/r50", file()))
    checkpoints.mkdir()
    part = Part(checkpoints / "r50.pth", wanted.file.url or "")
    part.path.write_bytes(b"other")
    part.path.with_name(part.path.name + ".json").write_text(about)
    assert fetcher.fetch(wanted).read_bytes() == BODY
    assert "Range" not in server.requests[0][1]


def test_a_part_larger_than_the_file_is_fetched_again(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    wanted = entry(server.on("/r50", file()), sha256=SHA, size=len(BODY))
    checkpoints.mkdir()
    part = Part(checkpoints / "r50.pth", wanted.file.url or "")
    part.begin({"ETag": '"v1"'})
    list(part.append([BODY, b"more"]))
    assert fetcher.fetch(wanted).read_bytes() == BODY
    assert "Range" not in server.requests[0][1]


def test_parts_of_former_addresses_are_cleared_away(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    wanted = entry(server.on("/r50", file()), name="[r50].pth")
    checkpoints.mkdir()
    Part(checkpoints / "[r50].pth", "https://a.org/former").begin({})
    Part(checkpoints / "r.pth", "https://a.org/another").begin({})
    fetcher.fetch(wanted)
    assert len(list(checkpoints.glob("*.part"))) == 1


PASSWORD = "s3cr\u00e9t+p@ss"


@pytest.mark.parametrize(
    "answer",
    [status(404), page, cut(100_000), file(b"wrong"), status(302, Location="//[::1"), status(302, Location="ftp:")],
)
def test_no_password_reaches_a_message_or_a_file(
    server: FileServer, fetcher: Fetcher, notes: Notes, checkpoints: Path, answer: object
) -> None:
    url = server.on("/r50.pth?token=TOPSECRET", answer)  # type: ignore[arg-type]
    secret = url.replace("//", f"//alice:{PASSWORD}@")
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(entry(secret, size=len(BODY), sha256=SHA))
    written = "".join(path.name + path.read_text("latin-1") for path in checkpoints.iterdir())
    for text in (str(caught.value), *notes, written):
        assert "s3cr" not in text
        assert "TOPSECRET" not in text
    assert server.requests[0][1]["Authorization"].startswith("Basic ")


def test_a_lock_file_names_the_server_but_no_password(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    url = server.on("/r50.pth?token=TOPSECRET", file())
    fetcher.fetch(entry(url.replace("//", "//alice:s3cret@")))
    lock = (checkpoints / "sparsebench.lock.yaml").read_text()
    assert f"url: {server.url('/r50.pth?...')}" in lock
    assert "s3cret" not in lock


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("https://a.org/x/y.pth", "https://a.org/x/y.pth"),
        ("https://u:p@a.org:8443/x?sig=1&b=2#f", "https://a.org:8443/x?..."),
        ("http://u:p@ss@a.org/@x", "http://a.org/@x"),
        ("http://u@[::1]:80/x", "http://[::1]:80/x"),
        ("http://u:p/w@a.org/x", "an address that is not a valid URL"),
        ("http://[::1/x", "an address that is not a valid URL"),
        ("hf:a/b/c@main", "hf:a/b/c@main"),
        ("https://a.org/\x1b[31m", "https://a.org/\\x1b[31m"),
    ],
)
def test_what_is_seen_of_an_address(address: str, seen: str) -> None:
    assert public(address) == seen


def test_what_is_seen_of_a_server_and_of_a_text() -> None:
    assert host("https://u:p@a.org:8443/x?y") == "a.org:8443"
    assert host("gdrive:abc") == "gdrive:abc"
    assert shown("see http://u:p@a.org/x?k=v now?yes\x1b\n\u202e") == "see http://a.org/x?... now?yes"


@pytest.mark.parametrize(
    "name", ["this.x/y", "this/y", "__main__/x", ".this/x", "this./x", "nosuch.deep/x", "a b/x", "x"]
)
def test_looking_for_a_file_of_a_package_imports_nothing(name: str) -> None:
    sys.modules.pop("this", None)
    assert find_state(FileSource(path=f"python:{name}")) == "missing"
    assert "this" not in sys.modules


def test_a_file_of_a_package_within_a_package_is_found() -> None:
    assert installed_file("email.mime/text.py").is_file()
    assert installed_file("email/mime/text.py") == installed_file("email.mime/text.py")


def test_the_folder_of_an_unknown_user_is_missing() -> None:
    assert find_state(FileSource(path="~nobody-of-this-name/x.pth")) == "missing"


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000 + "x", "file/x", "\0/x", "\ud800/x"])
def test_a_name_that_no_folder_takes_is_an_error_of_ours(
    name: str, server: FileServer, fetcher: Fetcher, checkpoints: Path
) -> None:
    checkpoints.mkdir()
    (checkpoints / "file").write_bytes(b"")
    wanted = entry(server.on("/r50", file()), name=name)
    with pytest.raises(CheckpointError):
        locate(wanted)
    with pytest.raises(CheckpointError, match=r"can't be (read|written)"):
        fetcher.fetch(wanted)
    assert checkpoint_path(wanted.file).name == "x" * (300 if len(name) == 300 else 1)


def test_a_lock_file_that_cannot_be_read_is_an_error_of_ours(fetcher: Fetcher, checkpoints: Path) -> None:
    (checkpoints / "sparsebench.lock.yaml").mkdir(parents=True)
    with pytest.raises(RegistryError, match=r"sparsebench\.lock\.yaml can't be read"):
        fetcher.fetch(entry("http://127.0.0.1:9/x"))
