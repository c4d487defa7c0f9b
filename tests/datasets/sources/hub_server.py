"""A small Hugging Face hub on this machine: tables of data sets, and a server that speaks as the hub does."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def image_bytes(seed: int, kind: str = "PNG", size: int = 24) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_table(
    path: Path,
    images: list[bytes | None],
    labels: list[Any],
    *,
    names: list[str] | None = None,
    columns: tuple[str, str] = ("image", "label"),
    structured: bool = True,
    rows_per_group: int = 4,
) -> Path:
    """Write images and labels as the hub's library does; ``structured`` with ``bytes`` and ``path``."""
    values = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(images)] if structured else images
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if structured else pa.binary()
    table = pa.table({columns[0]: pa.array(values, kind), columns[1]: pa.array(labels)})
    if names is not None:
        features = {columns[0]: {"_type": "Image"}, columns[1]: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


class Hub:
    """What a hub has, and what it was asked for: files by ``OWNER/NAME`` and path; ``cut`` answers are broken off."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.cut: set[str] = set()
        self.url = ""

    def add(self, repository: str, folder: Path) -> None:
        own = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.files[repository] = own


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def _send(self, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append((path, self.headers.get("Range")))
            for repository, files in hub.files.items():
                if path == f"/api/datasets/{repository}/revision/main":
                    return self._send(json.dumps({"id": repository, "sha": COMMIT, "tags": []}).encode())
                if path.startswith(f"/api/datasets/{repository}/tree/"):
                    return self._send(json.dumps([_entry(name, data) for name, data in files.items()]).encode())
                place = f"/datasets/{repository}/resolve/{COMMIT}/"
                if path.startswith(place) and (name := path.removeprefix(place)) in files:
                    return self._file(name, files[name])
            return self._send(b'{"error": "Repository not found"}', 404, X_Error_Code="RepoNotFound")

        def _file(self, name: str, data: bytes) -> None:
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
            tag = f'"{hashlib.sha256(data).hexdigest()}"'
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(data) - start))
            self.send_header("ETag", tag)
            self.send_header("Accept-Ranges", "bytes")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if name in hub.cut:
                hub.cut.discard(name)
                self.wfile.write(data[start : start + len(data) // 2])
                self.wfile.flush()
                self.close_connection = True
                return
            self.wfile.write(data[start:])

    return Handler


def _entry(name: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    lfs = {"oid": digest, "size": len(data), "pointerSize": 130}
    return {"type": "file", "path": name, "size": len(data), "oid": "0" * 40, "lfs": lfs}


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
