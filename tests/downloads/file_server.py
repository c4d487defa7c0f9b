"""A small server of files on this machine that can misbehave in every way a test asks for."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = bytes(i * 31 % 251 for i in range(300_000))
PAGE = b"<!DOCTYPE html>\n<html><head><title>Log in &amp;\n\x1b[31m wait</title></head><body>no</body></html>"

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.close_connection = True
        owner = self.server.owner
        owner.requests.append((self.path, dict(self.headers)))
        answers = owner.answers.get(self.path)
        if not answers:
            self.reply(404, b"nothing here", {"Content-Type": "text/plain"})
            return
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """End the connection the hard way."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: FileServer

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that hang up are what is tested


class FileServer:
    """``answers`` maps a path to what is answered, one after the other; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> FileServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def on(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return self.url(path)


def file(body: bytes = BODY, tag: str | None = '"v1"', ranges: bool = True, **headers: str) -> Answer:
    """The whole file, or the rest of it."""

    def answer(handler: Handler) -> None:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        if tag:
            more["ETag"] = tag
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        condition = handler.headers.get("If-Range")
        if not (wanted and ranges) or (condition and condition != tag):
            handler.reply(200, body, more)
        elif int(wanted[1]) >= len(body):
            handler.reply(416, b"", more | {"Content-Range": f"bytes */{len(body)}"})
        else:
            start = int(wanted[1])
            handler.reply(206, body[start:], more | {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})

    return answer


def cut(kept: int, body: bytes = BODY, tag: str | None = '"v1"') -> Answer:
    """The first bytes of the file, then nothing more."""
    return lambda handler: handler.reply(200, body[:kept], {"ETag": tag} if tag else {}, len(body))


def stalled(kept: int, body: bytes = BODY, seconds: float = 2.0) -> Answer:
    """The first bytes of the file, then silence."""

    def answer(handler: Handler) -> None:
        handler.reply(200, body[:kept], {"ETag": '"v1"'}, len(body))
        handler.wfile.flush()
        time.sleep(seconds)

    return answer


def broken(handler: Handler) -> None:
    handler.reset()


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda handler: handler.reply(code, body, {k.replace("_", "-"): v for k, v in headers.items()})


def redirect(target: str, code: int = 302) -> Answer:
    return status(code, Location=target)


def page(handler: Handler) -> None:
    handler.reply(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})


def chunked(body: bytes = BODY, *, whole: bool = True) -> Answer:
    """Without Content-Length, in pieces, slowly; without its end, if asked for."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            handler.wfile.flush()
            time.sleep(0.02)
        if whole:
            handler.wfile.write(b"0\r\n\r\n")

    return answer
