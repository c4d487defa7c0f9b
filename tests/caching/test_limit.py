"""The cache keeps to its limit, and takes nothing away from who uses it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from sparsebench.caching import CacheWarning, Stream, cache_limit, entry_dir, read
from sparsebench.caching.limit import DEFAULT_LIMIT, LIMIT_VARIABLE
from sparsebench.schema import InputError

SHAPE = (10, 100)  # 4,000 bytes, and some for header and key


def put(cache: Path, name: str, kind: str = "features", used: float | None = None) -> None:
    with Stream(cache, kind, {"name": name}, SHAPE, np.float32) as stream:
        stream.append(np.full(SHAPE, len(name), np.float32))
        stream.finish(1.0)
    if used is not None:
        os.utime(entry_dir(cache, kind, {"name": name}), (used, used))


def there(cache: Path, name: str, kind: str = "features") -> bool:
    return entry_dir(cache, kind, {"name": name}).is_dir()


@pytest.mark.parametrize(
    ("text", "size"),
    [("", DEFAULT_LIMIT), ("none", None), ("0", 0), ("20G", 20 * 2**30), (" 1.5 MiB ", 3 * 2**19), ("2tb", 2**41)],
)
def test_the_limit_is_a_size_or_none(text: str, size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    assert cache_limit() == size


@pytest.mark.parametrize("text", ["much", "-1G", "5 G B", "1e9", "nan", "9" * 400])
def test_what_is_no_size_is_said(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(InputError, match=LIMIT_VARIABLE):
        cache_limit()


def test_the_least_recently_used_of_either_kind_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "15K")
    put(tmp_path, "a", used=100)
    put(tmp_path, "b", "crops", used=200)
    put(tmp_path, "c", used=300)
    assert read(tmp_path, "features", {"name": "a"}, SHAPE, np.float32) is not None  # used now
    put(tmp_path, "d")
    assert [there(tmp_path, name) for name in "acd"] == [True, True, True]
    assert not there(tmp_path, "b", "crops")


def test_what_is_larger_than_the_limit_is_not_kept_and_drives_nothing_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a")
    monkeypatch.setenv(LIMIT_VARIABLE, "1K")
    put(tmp_path, "b")
    assert there(tmp_path, "a")
    assert not there(tmp_path, "b")
    assert read(tmp_path, "features", {"name": "a"}, SHAPE, np.float32) is not None


def test_what_a_process_has_mapped_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl")
    monkeypatch.setenv(LIMIT_VARIABLE, "6K")
    put(tmp_path, "a", used=100)
    entry = read(tmp_path, "features", {"name": "a"}, SHAPE, np.float32, mapped=True)
    assert entry is not None
    os.utime(entry_dir(tmp_path, "features", {"name": "a"}), (100, 100))
    program = "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; import test_limit as t; "
    line = [
        sys.executable,
        "-c",
        program + "t.put(Path(sys.argv[1]), 'other')",
        str(tmp_path),
        str(Path(__file__).parent),
    ]
    subprocess.run(line, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert there(tmp_path, "a")
    assert there(tmp_path, "other")
    assert (entry.array == 1).all()
    del entry
    os.utime(entry_dir(tmp_path, "features", {"name": "other"}), (200, 200))
    put(tmp_path, "c")
    assert not there(tmp_path, "a")
    assert not there(tmp_path, "other")


def test_readers_and_writers_at_once_see_whole_entries_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "9K")
    names = ["a", "bb", "ccc", "dddd"]
    wrong = []

    def work(shift: int) -> None:
        for k in range(40):
            name = names[(k + shift) % len(names)]
            entry = read(tmp_path, "features", {"name": name}, SHAPE, np.float32, mapped=k % 2 == 0)
            if entry is None:
                put(tmp_path, name)
            elif not (entry.array == len(name)).all():
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(shift,)) for shift in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not [str(w.message) for w in recwarn if isinstance(w.message, CacheWarning)]


def test_odd_files_among_the_entries_are_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("nowhere")
    (folder / "old.npy").write_bytes(bytes(20_000))
    os.utime(folder / "old.npy", (0, 0))
    (folder / ".tmp-killed").mkdir()
    os.utime(folder / ".tmp-killed", (0, 0))
    monkeypatch.setenv(LIMIT_VARIABLE, "10K")
    put(tmp_path, "a")
    assert there(tmp_path, "a")
    assert not (folder / "old.npy").exists()
    assert not (folder / ".tmp-killed").exists()
