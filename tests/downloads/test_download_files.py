from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from entries import SHA, Notes, entry
from file_server import BODY, FileServer, broken, chunked, cut, file, page, redirect, stalled, status

from sparsebench.downloads import Fetcher, FetchError, locate
from sparsebench.downloads.errors import DiskError
from sparsebench.downloads.part import Part
from sparsebench.schema import CheckpointError


def left(folder: Path) -> set[str]:
    """What lies in the folder, without lock files."""
    return {path.name for path in folder.iterdir() if path.name[0] != "." and path.name != "sparsebench.lock.yaml"}


def ranges(server: FileServer) -> list[str | None]:
    return [headers.get("Range") for _, headers in server.requests]


def test_a_file_comes_whole_once_and_with_progress(
    server: FileServer, fetcher: Fetcher, notes: Notes, checkpoints: Path
) -> None:
    wanted = entry(server.on("/a/r50.pth", file()), name="deep/r50.pth", sha256=SHA, size=len(BODY))
    assert fetcher.fetch(wanted) == checkpoints / "deep" / "r50.pth"
    assert (checkpoints / "deep" / "r50.pth").read_bytes() == BODY
    assert left(checkpoints / "deep") == {"r50.pth"}
    assert notes.progress[-1] == (len(BODY), len(BODY))
    assert fetcher.fetch(wanted) == locate(wanted)
    assert len(server.requests) == 1
    assert notes == []


@pytest.mark.parametrize(
    "bad",
    [
        status(500),
        status(503, Retry_After="0"),
        status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
        broken,
        cut(100_000),
        chunked(whole=False),
    ],
    ids=["500", "503", "429", "reset", "truncated", "unfinished"],
)
def test_what_may_pass_is_tried_again(server: FileServer, fetcher: Fetcher, notes: Notes, bad: object) -> None:
    wanted = entry(server.on("/r50.pth", bad, bad, file()), sha256=SHA)  # type: ignore[arg-type]
    assert fetcher.fetch(wanted).read_bytes() == BODY
    assert len(server.requests) == 3
    assert "try 3 of 3" in notes[-1]


@pytest.mark.parametrize(
    ("bad", "message", "tries"),
    [
        (status(404), "the server answered 404 Not Found", 1),
        (status(403), "the server answered 403 Forbidden: the file asks for a log-in or isn't public", 1),
        (status(204), "the server answered 204", 1),
        (status(502), r"the server answered 502 Bad Gateway \(3 tries\)", 3),
        (status(429, Retry_After="3600"), "the server answered 429 Too Many Requests and asks to wait 3600 s", 1),
        (broken, r"no connection: .*\(3 tries\)", 3),
        (page, r"answered with a web page, titled 'Log in & \[31m wait', instead of a file: the link is dead", 1),
        (file(b"  \n<HTML>sorry", Content_Type="application/octet-stream"), "a web page instead of a file", 1),
        (file(b"not here", Content_Type="text/html"), "a web page instead of a file", 1),
        (file(b'{"error": "gone"}', Content_Type="application/json"), "a text instead of a file: {\"error\"", 1),
        (file(b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"), "code 'AccessDenied'", 1),
        (file(b"<title>Google Drive - Quota exceeded</title>"), "quota exceeded.: try again in a day", 1),
        (file(b""), "an empty file", 1),
        (redirect("/r50.pth"), "more than 4 redirects", 5),
        (redirect("file:///etc/passwd"), "which is no web address", 1),
        (status(302), "a redirect without a target", 1),
    ],
)  # fmt: skip
def test_what_fails_says_why_and_leaves_nothing_in_place(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, bad: object, message: str, tries: int
) -> None:
    wanted = entry(server.on("/r50.pth", bad))  # type: ignore[arg-type]
    with pytest.raises(FetchError, match=message) as caught:
        fetcher.fetch(wanted)
    assert caught.value.message.startswith("checkpoint r50.acdc_s90 can't be fetched: 127.0.0.1:")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(server.requests) == tries
    assert not (checkpoints / "r50.pth").exists()
    assert not (checkpoints / "sparsebench.lock.yaml").exists()


def test_a_stall_that_stays_ends(server: FileServer, fetcher: Fetcher) -> None:
    impatient = replace(fetcher, limits=replace(fetcher.limits, stall=0.4, tries=2))
    with pytest.raises(FetchError, match=r"fewer than 1,024 bytes per second for 0\.4 s \(2 tries\)"):
        impatient.fetch(entry(server.on("/r50.pth", stalled(100_000))))


def test_a_stall_that_passes_is_tried_again(server: FileServer, fetcher: Fetcher, notes: Notes) -> None:
    patient = replace(fetcher, limits=replace(fetcher.limits, stall=0.4, tries=9))
    assert patient.fetch(entry(server.on("/r50.pth", stalled(100_000), file()))).read_bytes() == BODY
    assert "fewer than 1,024 bytes per second for 0.4 s; try 2 of 9" in notes[0]


def test_a_body_without_length(server: FileServer, fetcher: Fetcher, notes: Notes) -> None:
    assert fetcher.fetch(entry(server.on("/r50.pth", chunked()))).read_bytes() == BODY
    assert math.isinf(notes.progress[0][1])


def test_redirects_are_followed_and_their_end_resumed(server: FileServer, fetcher: Fetcher) -> None:
    server.on("/far", redirect("/further", 307))
    server.on("/further", cut(100_000), file())
    assert fetcher.fetch(entry(server.on("/near", redirect("/far")))).read_bytes() == BODY
    assert [path for path, _ in server.requests] == ["/near", "/far", "/further"] * 2


def test_mirrors_are_tried_in_their_order_and_named_when_all_fail(
    server: FileServer, fetcher: Fetcher, notes: Notes, checkpoints: Path
) -> None:
    first, second = server.on("/a", status(404)), server.on("/b", page)
    third = server.on("/c", file(b"wrong" * 1000))
    with pytest.raises(
        FetchError, match=r"404 Not Found; .*a web page.*; .*the file it gave has sha256 .*registered is"
    ):
        fetcher.fetch(entry(first, mirrors=[second, third], sha256=SHA))
    assert left(checkpoints) == set()
    fourth = server.on("/d", file())
    fetcher.fetch(entry(first, mirrors=[second, third, fourth], sha256=SHA))
    assert left(checkpoints) == {"r50.pth"}
    assert [path for path, _ in server.requests] == ["/a", "/b", "/c", "/a", "/b", "/c", "/d"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"sha256": "0" * 64}, f"has sha256 {SHA[:12]}..., registered is 000000000000"),
        ({"sha256_prefix": "00000000"}, f"has sha256 {SHA[:8]}..., registered is 00000000"),
        ({"size": 7}, "the server's file has 300,000 bytes, registered are 7"),
    ],
)
def test_a_wrong_file_is_not_put_in_place(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, source: dict[str, object], message: str
) -> None:
    with pytest.raises(FetchError, match=message):
        fetcher.fetch(entry(server.on("/r50.pth", file()), **source))
    assert left(checkpoints) == set()


def test_a_right_prefix_is_enough(server: FileServer, fetcher: Fetcher) -> None:
    wanted = entry(server.on("/r50.pth", file()), sha256_prefix=SHA[:8])
    assert fetcher.fetch(wanted) == locate(wanted)


def test_a_download_goes_on_where_it_was_cut(server: FileServer, fetcher: Fetcher, notes: Notes) -> None:
    wanted = entry(server.on("/r50.pth", cut(200_000), file()))
    assert fetcher.fetch(wanted).read_bytes() == BODY
    (_, _), (_, again) = server.requests
    start = int(again["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 200_000
    assert again["If-Range"] == '"v1"'
    assert notes.progress[-1] == (len(BODY), len(BODY))


def test_what_another_process_left_is_gone_on_with(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    wanted = entry(server.on("/r50.pth", cut(200_000), file()))
    with pytest.raises(FetchError, match=r"broke off early: IncompleteRead"):
        replace(fetcher, limits=replace(fetcher.limits, tries=1)).fetch(wanted)
    (part,) = checkpoints.glob("*.part")
    assert BODY.startswith(part.read_bytes())
    assert fetcher.fetch(wanted).read_bytes() == BODY
    assert ranges(server)[1] is not None
    assert left(checkpoints) == {"r50.pth"}


@pytest.mark.parametrize(
    "changed",
    [
        file(b"new" * 90_000, tag='"v2"'),  # honours If-Range: the whole new file
        file(b"new" * 90_000, tag='"v1"', ranges=False),  # knows no ranges
    ],
    ids=["other tag", "no ranges"],
)
def test_pieces_of_two_versions_never_mix(server: FileServer, fetcher: Fetcher, changed: object) -> None:
    wanted = entry(server.on("/r50.pth", cut(200_000), changed))  # type: ignore[arg-type]
    assert fetcher.fetch(wanted).read_bytes() == b"new" * 90_000


def test_a_server_that_ignores_if_range_is_found_out(server: FileServer, fetcher: Fetcher) -> None:
    def careless(handler: object) -> None:
        handler.headers.__delitem__("If-Range")  # type: ignore[attr-defined]
        file(b"new" * 90_000, tag='"v2"')(handler)  # type: ignore[arg-type]

    wanted = entry(server.on("/r50.pth", cut(200_000), careless, file(b"new" * 90_000, tag='"v2"')))
    assert fetcher.fetch(wanted).read_bytes() == b"new" * 90_000
    assert ranges(server)[2] is None


def test_without_a_validator_only_a_hash_allows_to_go_on(server: FileServer, fetcher: Fetcher) -> None:
    url = server.on("/r50.pth", cut(200_000, tag=None), file(tag=None))
    assert fetcher.fetch(entry(url, name="a.pth")).read_bytes() == BODY
    assert ranges(server) == [None, None]
    server.on("/r50.pth", cut(200_000, tag=None), file(tag=None))
    assert fetcher.fetch(entry(url, name="b.pth", sha256=SHA)).read_bytes() == BODY
    assert ranges(server)[3] is not None
    server.on("/r50.pth", cut(200_000, b"old" * 100_000, tag=None), file(tag=None))
    assert fetcher.fetch(entry(url, name="c.pth", sha256=SHA)).read_bytes() == BODY
    assert ranges(server)[-1] is None


def test_a_complete_part_needs_no_further_byte(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    wanted = entry(server.on("/r50.pth", file()))
    checkpoints.mkdir()
    part = Part(checkpoints / "r50.pth", wanted.file.url or "")
    part.begin({"ETag": '"v1"'})
    assert list(part.append([BODY])) == [len(BODY)]
    assert fetcher.fetch(wanted).read_bytes() == BODY
    part.begin({"ETag": '"v1"'})
    list(part.append([BODY, b"more than there is"]))
    (checkpoints / "r50.pth").unlink()
    assert fetcher.fetch(wanted).read_bytes() == BODY


def test_a_page_does_not_cost_the_bytes_there_are(server: FileServer, fetcher: Fetcher, checkpoints: Path) -> None:
    wanted = entry(server.on("/r50.pth", cut(200_000), page))
    with pytest.raises(FetchError, match="a web page"):
        fetcher.fetch(wanted)
    assert next(checkpoints.glob("*.part")).stat().st_size > 0
    server.on("/r50.pth", file())
    fetcher.fetch(wanted)
    assert ranges(server)[-1] is not None


def test_a_damaged_file_of_ours_is_fetched_again_one_of_the_users_is_not(
    server: FileServer, fetcher: Fetcher, checkpoints: Path, tmp_path: Path
) -> None:
    wanted = entry(server.on("/r50.pth", file()), sha256=SHA)
    checkpoints.mkdir()
    (checkpoints / "r50.pth").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"registered is .*sparsebench fetch --checkpoint r50.acdc_s90"):
        locate(wanted)
    assert fetcher.fetch(wanted).read_bytes() == BODY
    (tmp_path / "own.pth").write_bytes(b"mine")
    own = wanted.model_copy(update={"file": wanted.file.model_copy(update={"path": str(tmp_path / "own.pth")})})
    with pytest.raises(CheckpointError, match="registered is"):
        fetcher.fetch(own)
    assert (tmp_path / "own.pth").read_bytes() == b"mine"


def test_a_full_disk_is_said_before_and_no_mirror_is_bothered(
    server: FileServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DiskError, match=r"space for 1,000 bytes, but 300,000 more are to come"):
        fetcher.fetch(entry(server.on("/a", file()), mirrors=[server.on("/b", file())]))
    assert [path for path, _ in server.requests] == ["/a"]


def test_a_folder_that_is_none_is_said(
    server: FileServer, fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "occupied").write_text("a file")
    monkeypatch.setenv("SPARSEBENCH_CHECKPOINTS", str(tmp_path / "occupied"))
    with pytest.raises(DiskError, match="can't be written"):
        fetcher.fetch(entry(server.on("/a", file())))


def test_what_no_address_gives_says_what_to_do(fetcher: Fetcher, checkpoints: Path) -> None:
    with pytest.raises(
        FetchError, match=r"r50\.pth is missing \(it has to be got by hand: ask the authors; put it there"
    ):
        fetcher.fetch(entry(manual="ask the authors"))
    with pytest.raises(FetchError, match=r"is missing \(put the file there"):
        fetcher.fetch(entry())
    assert not checkpoints.exists()


def test_a_host_that_is_not_there_is_not_waited_for_with_every_file(fetcher: Fetcher, notes: Notes) -> None:
    for name in ("a.pth", "b.pth"):
        with pytest.raises(FetchError, match="no connection"):
            fetcher.fetch(entry("http://127.0.0.1:9/x", name=name))
    assert sum("try" in note for note in notes) == 3  # two further tries, then one
