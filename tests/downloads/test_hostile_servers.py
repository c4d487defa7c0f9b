"""Servers that lie: every answer ends soon, in one line of words, and the mirror is asked."""

from __future__ import annotations

import gzip
import time
from dataclasses import replace
from pathlib import Path

import pytest
from entries import SHA, Notes, entry
from file_server import BODY, FileServer, file, redirect
from raw_server import RawServer, Talk, drip, in_turn, ok

from sparsebench.downloads import Fetcher, FetchError

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HALF = BODY[:150_000]
FIRST = ok(HALF, 'ETag: "v1"', length=len(BODY))


def rest(span: str, *headers: str, body: bytes = BODY[150_000:]) -> bytes:
    return ok(body, f"Content-Range: {span}", *headers, status="206 Partial Content")


LIES: dict[str, Talk | bytes] = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "no status": b"HTTP/1.1 \r\n\r\n",
    "a status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "a negative status": b"HTTP/1.1 -200 OK\r\n\r\n",
    "a long status": b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n\r\n",
    "http 0.9": b"just bytes",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    "headers of no encoding": ok(BODY[:-1] + b"!", "X-\xff\xfe: \xff\xfe", "ETag: \x01\xff"),
    "no header name": ok(BODY, ": nothing", "\x00\x01", length=7),
    "cookies": ok(b"", "Set-Cookie: a=\x1b[31m; Domain=\x07; Expires=never", status="500 Oh"),
    "an escape in the reason": ok(b"", status="404 \x1b[2J\x07\x9b31m"),
    "a length of letters": ok(BODY[:-1], length="abc"),
    "a negative length": ok(BODY[:-1], length=-5),
    "a long length": ok(BODY[:-1], length="9" * 400),
    "a longer length": ok(BODY[:-1], length="9" * 5000),
    "a length of another script": ok(BODY[:-1], length="\xb2"),
    "two lengths": ok(BODY, "Content-Length: 5"),
    "a listed length": ok(BODY[:-1], length="5, 6"),
    "too much": ok(BODY + b"more"),
    "too little": ok(BODY[:-1]),
    "too much without a length": ok(BODY + b"more", length=None),
    "too little without a length": ok(BODY[:-1], length=None),
    "a chunk of letters": CHUNKED + b"ZZZ\r\nabc",
    "a negative chunk": CHUNKED + b"-5\r\nabc",
    "a huge chunk": CHUNKED + b"f" * 5000 + b"\r\nabc",
    "a long chunk line": CHUNKED + b"5;" + b"x" * 1_000_000 + b"\r\nabcde\r\n",
    "chunks cut off": CHUNKED + b"10000\r\n" + BODY[:65536] + b"\r\n10",
    "unknown transfer encoding": ok(b"abc", "Transfer-Encoding: foo, chunked", length=None),
    "not gzip": ok(b"\x1f\x8b\x08garbage" * 50, "Content-Encoding: gzip"),
    "gzip cut off": ok(gzip.compress(BODY)[:50], "Content-Encoding: gzip"),
    "gzip many times": ok(gzip.compress(BODY), "Content-Encoding: " + ", ".join(["gzip"] * 50)),
    "a small bomb": ok(gzip.compress(bytes(50_000_000), 9), "Content-Encoding: gzip"),
    "206 unasked": rest("bytes 0-9/10", body=b"0123456789"),
    "redirect to nothing": ok(b"", "Location: ", status="302 Found"),
    "redirect to a broken address": ok(b"", "Location: http://[::1", status="302 Found"),
    "redirect to a port of letters": ok(b"", "Location: http://127.0.0.1:abc/", status="302 Found"),
    "redirect to a port too high": ok(b"", "Location: //127.0.0.1:99999/", status="302 Found"),
    "redirect to a device": ok(b"", "Location: file:///dev/zero", status="302 Found"),
    "redirect to ftp": ok(b"", "Location: ftp://127.0.0.1/x", status="302 Found"),
    "redirect to data": ok(b"", "Location: data:text/plain,x", status="302 Found"),
    "redirect to escapes": ok(b"", "Location: foo://\x1b[31m\x07red", status="302 Found"),
    "redirect to a broken name": ok(b"", "Location: http://\xff\xfe.\x00/", status="302 Found"),
    "redirect to metadata": ok(b"", "Location: http://169.254.169.254/latest/", status="302 Found"),
    "redirect to the network": ok(b"", "Location: http://10.0.0.1/", status="307 Temporary"),
    "many 100s": b"HTTP/1.1 100 Continue\r\n\r\n" * 500 + ok(b"", status="404 Not Found"),
    "a status of no kind": ok(BODY, status="999 What"),
    "a switch of protocols": ok(b"", status="101 Switching Protocols", length=None),
    "a page": ok(b"<title>\x1b]0;owned\x07</title>" + b"<title>" * 10_000, "Content-Type: text/html; charset=\xff"),
    "a page of nothing but titles": ok(b"<title>" * 30_000, "Content-Type: text/html"),
    "too many requests": ok(b"", "Retry-After: " + "9" * 400, status="429 Slow Down"),
    "too many requests, no number": ok(b"", "Retry-After: -1e9", status="503 Busy"),
    "too many requests, no date": ok(b"", "Retry-After: Fri, 99 Dec 9999 99:99:99 -9999", status="429 Slow Down"),
    "endless status": drip(b"", b"H"),
    "endless headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: y"),
    "endless 100s": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.001),
    "endless body, slow": drip(ok(b"", length=len(BODY)), b"x"),
    "endless body, slow, after a page's worth": drip(ok(BODY[:5000], length=len(BODY)), b"x"),
    "endless body, fast": drip(ok(b"", length=None), bytes(100_000), 0.0),
    "endless chunks, fast": drip(CHUNKED, b"10000\r\n" + bytes(65536) + b"\r\n", 0.0),
    "endless chunk line": drip(CHUNKED + b"1", b"0"),
    "endless chunk extension": drip(CHUNKED + b"1;", b"x"),
    "endless trailers": drip(CHUNKED + b"3\r\nabc\r\n0\r\n", b"X: y\r\n", 0.0),
    "endless error": drip(ok(b"", status="500 Oh", length=None), b"x"),
    "endless redirect": drip(ok(b"", "Location: file:///x", status="302 Found", length=None), b"x"),
    "silence": lambda connection, count: time.sleep(5),
    "silence within TLS": drip(b"\x16\x03\x03\x40\x00\x02", b"\0"),
}
"""Each answer, whatever else is wrong with it, is not the registered file."""


@pytest.fixture
def hasty(fetcher: Fetcher) -> Fetcher:
    limits = replace(fetcher.limits, stall=0.3, tries=2, longest_wait=0.2)
    return replace(fetcher, limits=limits)


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_ends_in_words_and_the_mirror_is_asked(
    lie: str, server: FileServer, hasty: Fetcher, notes: Notes, checkpoints: Path
) -> None:
    begin = time.monotonic()
    with RawServer(LIES[lie]) as liar:
        wanted = entry(liar.url, mirrors=[server.on("/b", file())], sha256=SHA, size=len(BODY))
        assert hasty.fetch(wanted).read_bytes() == BODY
    assert time.monotonic() - begin < 8
    assert all(line.isprintable() for line in notes)
    assert len(server.requests) == 1
    assert {path.name for path in checkpoints.iterdir()} == {"r50.pth", ".r50.pth.lock"}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_alone_is_named_and_leaves_no_bad_bytes(lie: str, hasty: Fetcher, checkpoints: Path) -> None:
    with RawServer(LIES[lie]) as liar, pytest.raises(FetchError, match=r"can't be fetched: 127.0.0.1:") as caught:
        hasty.fetch(entry(liar.url, sha256=SHA, size=len(BODY)))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    for part in checkpoints.glob("*.part"):
        assert part.stat().st_size < len(BODY)  # to be gone on with, not more than there is


@pytest.mark.parametrize(
    "again",
    [
        rest("bytes 0-149999/300000", 'ETag: "v1"', body=HALF),
        rest("bytes -5-10/20", 'ETag: "v1"'),
        rest(f"bytes {'9' * 5000}-1/1", 'ETag: "v1"'),
        rest("bytes 150000-299999/300000", 'ETag: "v2"'),
        rest("bytes 150000-299999/\xb2", 'ETag: "v1"'),
        rest("bytes 150000-299999/300000", 'ETag: "v1"', body=b"?" * 150_000),
        rest("bytes 150000-299999/300000", 'ETag: "v1"', "Content-Encoding: gzip", body=gzip.compress(BODY[150_000:])),
        ok(BODY, "Content-Type: multipart/byteranges; boundary=x", status="206 Partial Content"),
        ok(b"", "Content-Range: bytes */300000", status="416 No"),
        ok(b"", "Content-Range: bytes */999999", status="416 No"),
        ok(b"", status="416 No"),
        ok(b"", status="412 Precondition Failed"),
        ok(b"", status="400 Bad Request"),
        ok(b"", status="431 Too Large"),
        ok(BODY[:1000], 'ETag: "v3"', length=len(BODY)),
        ok(BODY, 'ETag: "v1"'),
    ],
)
def test_a_resumption_that_lies_costs_only_another_try(again: bytes, fetcher: Fetcher, checkpoints: Path) -> None:
    with RawServer(in_turn(FIRST, again, ok(BODY))) as server:
        wanted = entry(server.url, sha256=SHA, size=len(BODY))
        assert fetcher.fetch(wanted).read_bytes() == BODY
        assert "Range: bytes=150000-" in server.requests[1]
    assert {path.name for path in checkpoints.iterdir()} == {"r50.pth", ".r50.pth.lock"}


@pytest.mark.parametrize(
    "name", ['ETag: "\xe9\x01\xff"', "Last-Modified: \x85 foo\xff", 'ETag: "' + "x" * 60_000 + '"']
)
def test_a_version_that_cannot_be_sent_back_is_not(name: str, fetcher: Fetcher) -> None:
    with RawServer(in_turn(ok(HALF, name, length=len(BODY)), ok(BODY))) as server:
        assert fetcher.fetch(entry(server.url, sha256=SHA)).read_bytes() == BODY
        assert "If-Range" not in server.requests[1]


def test_a_size_is_held_while_writing(hasty: Fetcher, checkpoints: Path) -> None:
    with (
        RawServer(ok(bytes(5_000_000), length=None)) as server,
        pytest.raises(FetchError, match="more than 5,000 bytes"),
    ):
        hasty.fetch(entry(server.url, size=5000))
    assert not list(checkpoints.glob("*.part*"))


def test_without_a_size_there_is_still_a_limit(hasty: Fetcher, checkpoints: Path) -> None:
    small = replace(hasty, limits=replace(hasty.limits, largest=100_000))
    chunks = CHUNKED + b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n"
    for body, message in ((ok(BODY), "more than are taken of one file"), (chunks, "more than 100,000 bytes")):
        with RawServer(body) as server, pytest.raises(FetchError, match=message):
            small.fetch(entry(server.url))
    assert not list(checkpoints.glob("*.part*"))


def test_a_length_that_no_file_has_is_not_taken_for_a_full_disk(server: FileServer, hasty: Fetcher) -> None:
    with RawServer(ok(BODY, length=10**17)) as liar:
        wanted = entry(liar.url, mirrors=[server.on("/b", file())])
        assert hasty.fetch(wanted).read_bytes() == BODY


def test_a_bomb_of_no_registered_size_is_not_unpacked(hasty: Fetcher, checkpoints: Path) -> None:
    body = ok(gzip.compress(bytes(100_000_000), 9), "Content-Encoding: gzip")
    with RawServer(body) as server, pytest.raises(FetchError, match=r"more than 67,108,864 bytes"):
        hasty.fetch(entry(server.url))
    assert not list(checkpoints.glob("*.part*"))


def test_a_file_whose_end_nobody_knows_is_not_pinned(hasty: Fetcher) -> None:
    with RawServer(ok(BODY, length=None)) as server:
        with pytest.raises(FetchError, match="doesn't say where the file ends: register its size or its sha256"):
            hasty.fetch(entry(server.url))
        assert hasty.fetch(entry(server.url, size=len(BODY))).read_bytes() == BODY


def test_an_address_has_a_limit_for_all_its_tries(hasty: Fetcher) -> None:
    def slowly_but_not_too_slowly(connection: object, count: int) -> None:
        drip(ok(b"", 'ETag: "v1"', length=10_000_000), b"x" * 5000)(connection, count)  # type: ignore[arg-type]

    brief = replace(hasty, limits=replace(hasty.limits, total=1.0))
    begin = time.monotonic()
    with RawServer(slowly_but_not_too_slowly) as server, pytest.raises(FetchError, match="not complete within 1 s"):
        brief.fetch(entry(server.url))
    assert time.monotonic() - begin < 4


def test_a_redirect_does_not_lead_into_the_users_network(server: FileServer, hasty: Fetcher) -> None:
    url = server.on("/r50.pth", redirect("http://169.254.169.254/latest/meta-data"))
    with pytest.raises(FetchError, match=r"a redirect to 169\.254\.169\.254, a link-local address"):
        hasty.fetch(entry(url))


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:99999/x",
        "http://[::1/x",
        "http://[zz]/x",
        "http://127.0.0.1:abc/x",
        "http://%zz/x",
        "http://\u2100.com/x",
        "http://a..b/x",
        "http://" + "a" * 300 + "/x",
        "http://./",
        "http://\x1b[31m/x",
        "https://127.0.0.1:9/x",
        "hf:a--b/--c/d@../..",
        "hf:.../.../x@main",
    ],
)
def test_an_address_that_leads_nowhere_is_said_and_the_mirror_asked(
    address: str, server: FileServer, hasty: Fetcher, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    wanted = entry(address, mirrors=[server.on("/b", file())], sha256=SHA)
    assert hasty.fetch(wanted).read_bytes() == BODY
    assert all(line.isprintable() for line in notes)


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("too deep"), ValueError("odd"), KeyError("x")])
def test_whatever_a_library_raises_the_mirror_is_asked(
    error: Exception, server: FileServer, hasty: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparsebench.downloads import http

    real = http._follow

    def follow(session: object, wanted: object, *more: object) -> object:
        if wanted.url.endswith("/a"):  # type: ignore[attr-defined]
            raise error
        return real(session, wanted, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(http, "_follow", follow)
    wanted = entry(server.on("/a", file()), mirrors=[server.on("/b", file())], sha256=SHA)
    assert hasty.fetch(wanted).read_bytes() == BODY


def test_whatever_else_goes_wrong_the_mirror_is_asked(
    server: FileServer, hasty: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparsebench.downloads.watch import Watch

    real = Watch.__enter__

    def enter(watch: Watch) -> Watch:
        monkeypatch.setattr(Watch, "__enter__", real)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Watch, "__enter__", enter)
    wanted = entry(server.on("/a", file()), mirrors=[server.on("/b", file())], sha256=SHA)
    assert hasty.fetch(wanted).read_bytes() == BODY
    assert [path for path, _ in server.requests] == ["/b"]
