from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from entries import Notes, entry
from file_server import BODY, FileServer, file, redirect
from raw_server import RawServer, in_turn, ok

from sparsebench.downloads import Fetcher, FetchError, TransferDisplay, checkpoint_path, find_state, offline_reason
from sparsebench.downloads.addresses import Wanted, resolve
from sparsebench.downloads.errors import TransferError
from sparsebench.downloads.http import ask, next_url, retry_after
from sparsebench.downloads.limits import Limits
from sparsebench.downloads.pages import page_reason
from sparsebench.downloads.watch import Watch
from sparsebench.schema import FileSource

DRIVE = "https://drive.usercontent.google.com/download?id=1zARmlZDI_JWKEteEwNIjcZBGVEiEvWLc&export=download&confirm=t"
ID = "1zARmlZDI_JWKEteEwNIjcZBGVEiEvWLc"


@pytest.mark.parametrize(
    "address",
    [
        f"gdrive:{ID}",
        f"https://drive.google.com/file/d/{ID}/view?usp=sharing",
        f"https://drive.google.com/open?id={ID}",
        f"https://drive.google.com/uc?export=download&id={ID}",
    ],
)
def test_every_spelling_of_google_drive_is_its_download(address: str) -> None:
    assert resolve(address) == Wanted(DRIVE)


def test_a_folder_is_no_file() -> None:
    with pytest.raises(TransferError, match="a folder, not a file"):
        resolve(f"https://drive.google.com/drive/folders/{ID}")


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    wanted = resolve("hf:facebook/superblock-vit-b-16/checkpoints/sp0.90-ts64.pth@main")
    assert wanted.url.endswith("/facebook/superblock-vit-b-16/resolve/main/checkpoints/sp0.90-ts64.pth")
    assert wanted.headers == {"Authorization": "Bearer secret"}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(TransferError, match="HF_HUB_OFFLINE forbids it"):
        resolve("hf:facebook/superblock-vit-b-16/checkpoints/sp0.90-ts64.pth@main")


@contextmanager
def asked(wanted: Wanted) -> Iterator[requests.Response]:
    with Watch(Limits(), 60) as watch, ask(wanted, {}, Limits(), watch) as answer:
        yield answer


def test_a_log_in_stays_with_its_host(server: FileServer) -> None:
    with FileServer() as other:
        server.on("/same", file())
        server.on("/a", redirect("/same"))
        server.on("/b", redirect(other.on("/away", file())))
        for start in ("/a", "/b"):
            with asked(Wanted(server.url(start), {"Authorization": "Bearer x"})) as answer:
                assert answer.content == BODY
        assert [headers.get("Authorization") for _, headers in server.requests] == ["Bearer x"] * 3
        assert [headers.get("Authorization") for _, headers in other.requests] == [None]


def test_no_redirect_leads_from_https_to_http() -> None:
    assert next_url("https://a.org/x/y", "../z") == "https://a.org/z"
    assert next_url("http://a.org/", "https://b.org/") == "https://b.org/"
    with pytest.raises(TransferError, match="not secure"):
        next_url("https://a.org/", "http://a.org/")


def test_compressed_on_the_way_is_unpacked(server: FileServer, fetcher: Fetcher, notes: Notes) -> None:
    import gzip

    url = server.on("/r50.pth", file(gzip.compress(BODY), Content_Encoding="gzip"))
    assert fetcher.fetch(entry(url)).read_bytes() == BODY
    assert math.isinf(notes.progress[-1][1])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("\xb2", None),
        ("9" * 5000, None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize("start", [b"\x80\x02}q", b"PK\x03\x04", b"\x1f\x8b\x08\0", b'\x90\0\0\0\0\0\0\0{"a"', b""])
def test_files_are_not_taken_for_pages_whatever_the_server_calls_them(start: bytes) -> None:
    assert page_reason("application/octet-stream", start) is None
    assert page_reason("text/html", start + b"\0") is None


def test_a_long_title_is_shortened() -> None:
    reason = page_reason("text/html", b"<html><title>" + b"long " * 100 + b"</title>")
    assert reason is not None
    assert len(reason) < 300


@pytest.mark.parametrize("value", ["9" * 10, "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_an_absurd_retry_after_is_long_but_a_number(value: str) -> None:
    assert 3600 < (retry_after(value) or 0) <= 24 * 3600


@pytest.mark.parametrize(
    ("own", "hub", "flag", "reason"),
    [
        (None, None, False, None),
        (None, None, True, "--offline"),
        ("1", None, False, "SPARSEBENCH_OFFLINE=1"),
        ("0", "1", False, None),
        (None, "TRUE", False, "HF_HUB_OFFLINE=true"),
        ("", "0", False, None),
    ],
)
def test_what_forbids_the_network(
    own: str | None, hub: str | None, flag: bool, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SPARSEBENCH_OFFLINE", own), ("HF_HUB_OFFLINE", hub)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert offline_reason(flag) == reason


def test_where_files_lie(checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FileSource(path="cache:rigl/s90.pth", manual="ask")
    assert checkpoint_path(source) == checkpoints / "rigl" / "s90.pth"
    assert find_state(source) == "by hand"
    monkeypatch.delenv("SPARSEBENCH_CHECKPOINTS")
    monkeypatch.setenv("SPARSEBENCH_CACHE", str(tmp_path / "cache"))
    assert checkpoint_path(source) == tmp_path / "cache" / "checkpoints" / "rigl" / "s90.pth"
    assert find_state(FileSource(path="gone.pth")) == "missing"
    assert find_state(FileSource(path="gone.pth", url="https://a.org/x")) == "fetchable"


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "cache:../x"},
        {"path": "cache:"},
        {"path": "cache:/x"},
        {"path": "cache:C:/x"},
        {"path": "x", "url": "file:///etc/passwd"},
        {"path": "x", "url": "ftp://a.org/x"},
        {"path": "x", "url": "hf:owner/repo/file"},
        {"path": "x", "mirrors": ["https://a.org/x"]},
        {"path": "x", "url": "https://a.org/x", "mirrors": ["a.org/x"]},
        {"path": "x", "member": "y"},
        {"path": "x", "url": "https://a.org/x", "member": "../y"},
        {"path": "x", "url": "https://a.org/x", "sha256": "0" * 64, "sha256_prefix": "1" * 8},
        {"path": "x", "sha256_prefix": "123"},
        {"path": "x", "size": 0},
        {"path": "package:x", "url": "https://a.org/x"},
    ],
)
def test_sources_that_make_no_sense(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="FileSource"):
        FileSource.model_validate(fields)


def test_proxies_are_for_other_machines(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    real = requests.Session.get

    def get(session: requests.Session, url: str, **options: object) -> requests.Response:
        seen.append(session.trust_env)
        return real(session, url.replace("elsewhere.invalid", "127.0.0.1"), **options)  # type: ignore[arg-type]

    monkeypatch.setattr(requests.Session, "get", get)
    with asked(Wanted(server.on("/a", file()))):
        pass
    with pytest.raises(TransferError), asked(Wanted("http://elsewhere.invalid/a")):
        pass
    assert seen == [False, True]


def test_a_redirect_leads_only_to_the_like_of_what_was_named_or_to_public_addresses() -> None:
    places = {"public": "93.184.216.34", "private": "10.0.0.1", "loopback": "::ffff:127.0.0.1", "link-local": "fe80::1"}
    for named, first in places.items():
        for reached, second in places.items():
            watch = Watch(Limits(), 60)
            watch.allow("example.org")  # a name says nothing
            watch.allow(first)
            watch.redirected = True
            watch.allow("example.org")
            if reached in ("public", named):
                watch.allow(second)
            else:
                with pytest.raises(TransferError, match=f"a {reached} address"):
                    watch.allow(second)


def test_a_proxy_is_asked_and_may_be_anywhere(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    to_the_network = ok(b"", "Location: http://192.168.1.1/", status="302 Found")
    with RawServer(in_turn(ok(BODY), to_the_network)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert fetcher.fetch(entry("http://elsewhere.invalid/a")).read_bytes() == BODY
        assert proxy.requests[0].startswith("GET http://elsewhere.invalid/a HTTP/1.1")
        with pytest.raises(FetchError, match="a private address"):
            fetcher.fetch(entry("http://elsewhere.invalid/a", name="b.pth"))


def test_plain_lines_say_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with TransferDisplay() as display:
        display.begin("r50.acdc_s90")
        for second in range(0, 70, 10):  # resumed: what was there before says nothing about the speed
            now[0] = second
            display.update(50e6 + second * 0.5e6, 150e6)
        now[0] = 100
        display.update(90e6, math.inf)
    # older versions of rich end with an empty line
    assert list(filter(None, capsys.readouterr().err.splitlines())) == [
        "fetching r50.acdc_s90",
        "r50.acdc_s90: 65.0 of 150.0 MB, about 2:50 left",
        "r50.acdc_s90: 80.0 of 150.0 MB, about 2:20 left",
        "r50.acdc_s90: 90.0 MB",
    ]


def test_a_host_that_is_not_there_is_named_in_words() -> None:
    with (
        pytest.raises(TransferError, match=r"^no connection: Failed to establish a new connection: .*refused"),
        asked(Wanted("http://127.0.0.1:9/x")),
    ):
        pass
