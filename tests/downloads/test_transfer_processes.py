"""What takes processes of their own: two at once, one that is interrupted or killed, one whose disk is full."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from entries import SHA, Notes, entry
from file_server import BODY, FileServer, Handler, file

from sparsebench.downloads import Fetcher

PROGRAM = """
import resource, sys
from entries import SHA, entry
from sparsebench.downloads import Fetcher, FetchError
url, limit = sys.argv[1], int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    Fetcher(note=lambda text: print(text, file=sys.stderr)).fetch(entry(url, sha256=SHA))
except FetchError as error:
    sys.exit(str(error))
"""


def start(url: str, limit: int = 0) -> subprocess.Popen[str]:
    """Fetch in another process, which may write no file of more than ``limit`` bytes."""
    command = [sys.executable, "-c", PROGRAM, url, str(limit)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def slowly(handler: Handler) -> None:
    """Half the file, and the rest after a while."""
    handler.send_response(200)
    handler.send_header("ETag", '"v1"')
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(BODY[:150_000])
    handler.wfile.flush()
    time.sleep(1.5)
    handler.wfile.write(BODY[150_000:])


def halfway(handler: Handler) -> None:
    """Half the file, and no more for as long as the client waits."""
    handler.send_response(200)
    handler.send_header("ETag", '"v1"')
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(BODY[:150_000])
    handler.wfile.flush()
    for _ in range(600):
        with contextlib.suppress(BlockingIOError):
            if handler.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                return
        time.sleep(0.05)


def part_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.part"))


def wait_for_part(folder: Path) -> None:
    for _ in range(600):
        if part_size(folder) > 0:
            return
        time.sleep(0.05)
    raise AssertionError("no part file after 30 s")


def test_two_processes_fetch_a_file_once(server: FileServer, checkpoints: Path) -> None:
    url = server.on("/r50.pth", slowly)
    both = [start(url), start(url)]
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert (checkpoints / "r50.pth").read_bytes() == BODY
    assert len(server.requests) == 1
    assert "".join(errors).count("another process is fetching it: waiting") == 1


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_ends_early_leaves_what_it_has(
    server: FileServer, checkpoints: Path, fetcher: Fetcher, notes: Notes, blow: signal.Signals
) -> None:
    url = server.on("/r50.pth", halfway, file())
    process = start(url)
    wait_for_part(checkpoints)
    os.kill(process.pid, blow)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == -blow, error
    assert not (checkpoints / "r50.pth").exists()
    kept = part_size(checkpoints)
    assert kept > 0
    wanted = entry(url, sha256=SHA)
    assert fetcher.fetch(wanted).read_bytes() == BODY  # the lock of the dead doesn't hold
    assert server.requests[-1][1]["Range"] == f"bytes={kept}-"
    assert notes.progress[0][0] == kept


def test_a_disk_that_is_full_on_the_way(server: FileServer, checkpoints: Path) -> None:
    url = server.on("/r50.pth", file())
    process = start(url, limit=100_000)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "is full: File too large when r50.pth." in error
    assert "free some space and run the same command again: it goes on where it was" in error
    assert "Traceback" not in error
    assert len(server.requests) == 1
    again = start(url)
    assert again.communicate(timeout=60)[1] == ""
    assert (checkpoints / "r50.pth").read_bytes() == BODY
    assert server.requests[-1][1]["Range"] == "bytes=100000-"
