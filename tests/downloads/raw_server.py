"""A server on this machine that sends exactly the bytes a test gives it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

Talk = Callable[[socket.socket, int], None]
"""What is said on the n-th connection, counted from 0, after the request."""


class RawServer:
    """Use as a context; ``requests`` are the requests' heads, in the order in which they came."""

    def __init__(self, talk: Talk | bytes) -> None:
        self._talk = talk if callable(talk) else lambda connection, count: connection.sendall(talk)
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/r50.pth"

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._listener.accept()[0],), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := connection.recv(65536)):
                    return
                head += more
            self.requests.append(head.decode("latin-1"))
            self._talk(connection, len(self.requests) - 1)
            connection.shutdown(socket.SHUT_WR)


def ok(body: bytes, *headers: str, length: int | str | None = -1, status: str = "200 OK") -> bytes:
    """An answer; ``length`` is what its Content-Length says, -1 the body's, None leaves it out."""
    said = [] if length is None else [f"Content-Length: {len(body) if length == -1 else length}"]
    return "\r\n".join([f"HTTP/1.1 {status}", *said, *headers, "", ""]).encode("latin-1") + body


def drip(start: bytes, piece: bytes, pause: float = 0.05, seconds: float = 20.0) -> Talk:
    """Say one thing, then another again and again."""

    def talk(connection: socket.socket, count: int) -> None:
        connection.sendall(start)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(piece)
            time.sleep(pause)

    return talk


def in_turn(*answers: bytes) -> Talk:
    """One answer after the other; the last one stays."""
    return lambda connection, count: connection.sendall(answers[min(count, len(answers) - 1)])
