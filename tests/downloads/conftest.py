from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from entries import Notes
from file_server import FileServer

from sparsebench.downloads import Fetcher, Limits


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoints folder of its own, proxies that don't exist, and no word about being offline."""
    folder = tmp_path / "checkpoints"
    monkeypatch.setenv("SPARSEBENCH_CHECKPOINTS", str(folder))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "SPARSEBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def fetcher(notes: Notes) -> Fetcher:
    """A fetcher that is soon out of patience."""
    limits = Limits(connect=2, stall=3, tries=3, backoff=0.01, longest_wait=0.5, redirects=4)
    return Fetcher(limits, lambda done, total: notes.progress.append((done, total)), notes.append)
