"""Claims: one holder per key, however many ask; a dead or silent holder is replaced, a living one is not."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsebench.common import files
from sparsebench.schema import RunError
from sparsebench.store import Claims, Store, claims, read_claims

KEY = "0123456789abcdef"


def file_of(results: Path, key: str = KEY) -> Path:
    return results / "claims" / f"{key}.json"


def age(path: Path, seconds: float) -> None:
    date = time.time() - seconds
    os.utime(path, (date, date), follow_symlinks=False)


def foreign(results: Path, seconds: float = 0.0, **changes: object) -> Path:
    """Leave a claim as a process on another machine would have touched it so long ago."""
    fields = {
        "key": KEY,
        "token": "theirs",
        "taken": "2026-01-01T00:00:00Z",
        "host": "node17",
        "machine": "m",
        "pid": 1,
    }
    files.write_text(file_of(results), json.dumps(fields | changes))
    age(file_of(results), seconds)
    return file_of(results)


def test_a_key_has_one_holder_until_it_is_released(tmp_path: Path) -> None:
    with Claims(tmp_path) as one, Claims(tmp_path) as two:
        held = one.take(KEY)
        assert held is not None
        assert one.take(KEY) is None
        assert two.take(KEY) is None
        assert two.take("another") is not None
        found, *_ = read_claims(tmp_path)
        assert (found.claim.key, found.claim.pid, found.dead) == (KEY, os.getpid(), False)
        assert found.age < 30
        one.release(held)
        one.release(held)
        assert two.take(KEY) is not None
    assert list((tmp_path / "claims").iterdir()) == []


@pytest.mark.parametrize("key", ["../../x", "a/b", "k" * 300, "ß?*", "con"])
def test_a_key_is_any_text(tmp_path: Path, key: str) -> None:
    with Claims(tmp_path) as one, Claims(tmp_path) as two:
        assert one.take(key) is not None
        assert two.take(key) is None
        assert [found.claim.key for found in read_claims(tmp_path)] == [key]
    assert [path.name for path in tmp_path.iterdir()] == ["claims"]


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_threads_one_gets_it(tmp_path: Path, dead: bool) -> None:
    for _ in range(5):
        if dead:
            foreign(tmp_path, 200)
        askers = [Claims(tmp_path) for _ in range(8)]
        start, got = threading.Barrier(8), []

        def ask(own: Claims, start: threading.Barrier = start, got: list[object] = got) -> None:
            start.wait()
            for _ in range(3):
                if (held := own.take(KEY)) is not None:
                    got.append((own, held))

        threads = [threading.Thread(target=ask, args=(own,)) for own in askers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
        assert read_claims(tmp_path)[0].dead is False
        for own in askers:
            own.__exit__(None, None, None)
        assert list((tmp_path / "claims").iterdir()) == []


def test_a_claim_that_wasnt_touched_for_a_lease_is_taken_over(tmp_path: Path) -> None:
    with Claims(tmp_path) as one, Claims(tmp_path, lease_seconds=60) as two:
        held = one.take(KEY)
        assert held is not None
        age(held.path, 50)
        assert two.take(KEY) is None
        age(held.path, 70)
        theirs = two.take(KEY)
        assert theirs is not None
        one.release(held)
        assert held.path.read_bytes() == theirs.content, "who lost a claim doesn't release the new holder's"


def test_a_claim_is_touched_while_its_holder_lives(tmp_path: Path) -> None:
    with Claims(tmp_path, lease_seconds=0.9) as one, Claims(tmp_path, lease_seconds=5.0) as two:
        held = one.take(KEY)
        assert held is not None
        before = held.path.stat().st_mtime_ns
        time.sleep(0.8)
        assert held.path.stat().st_mtime_ns > before
        held.path.unlink()  # whoever did that
        time.sleep(0.8)
        assert two.take(KEY) is None


def test_a_hiccup_while_touching_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Claims(tmp_path, lease_seconds=0.3) as mine:
        held = mine.take(KEY)
        assert held is not None
        with monkeypatch.context() as patch:
            patch.setattr(claims, "read_regular", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "hiccup")))
            time.sleep(0.3)
        before = held.path.stat().st_mtime_ns
        time.sleep(0.5)
        assert held.path.stat().st_mtime_ns > before


@pytest.mark.parametrize("skew", [-1e6, 1e6])
def test_the_clocks_of_the_nodes_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    real = time.time
    foreign(tmp_path, 10)
    monkeypatch.setattr(time, "time", lambda: real() + skew)
    monkeypatch.setattr(time, "time_ns", lambda: int((real() + skew) * 1e9))
    with Claims(tmp_path) as mine:
        assert mine.take(KEY) is None


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from sparsebench.store import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take(sys.argv[2]) is not None, flush=True)
time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[2])}
    command = [sys.executable, "-c", program, str(tmp_path), KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with Claims(tmp_path) as mine:
            assert mine.take(KEY) is None
            holder.kill()
            deadline = time.monotonic() + 10
            while mine.take(KEY) is None:  # also before anyone has waited for the dead process
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.mark.skipif(claims._machine() is None, reason="this system doesn't tell processes of one machine apart")
@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({}, False),
        ({"process_started": "1"}, True),  # a later process of the same number
        ({"pid": 2**22 + 1}, True),
        ({"pid": 2**22 + 1, "machine": "other"}, False),  # a namesake
        ({"pid": 2**22 + 1, "host": "other"}, False),
        ({"pid": 2**22 + 1, "machine": None}, False),
    ],
)
def test_who_is_gone_and_who_may_live(changes: dict[str, object], gone: bool) -> None:
    assert claims._is_gone(claims._this_process(KEY).model_copy(update=changes)) is gone


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_holds_nothing_and_doesnt_wait(tmp_path: Path) -> None:
    with Claims(tmp_path) as mine:
        held = mine.take(KEY)
        assert held is not None
        with mine._guard:  # as while it is touched
            child = os.fork()
            if child == 0:
                mine.release(held)
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert held.path.exists()


@given(st.one_of(st.binary(max_size=60), st.sampled_from([b"[" * 50_000, b'{"key": NaN}', b'{"taken": "yesterday"}'])))
def test_a_damaged_claim_runs_out_like_any_other(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    results = tmp_path_factory.mktemp("junk")
    files.write_bytes(file_of(results), junk)
    with Claims(results) as mine:
        assert mine.take(KEY) is None
        assert read_claims(results) == []
        age(file_of(results), 200)
        assert mine.take(KEY) is not None


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_isnt_a_file_runs_out_like_any_other(tmp_path: Path, kind: str) -> None:
    file_of(tmp_path).parent.mkdir()
    if kind == "pipe":
        os.mkfifo(file_of(tmp_path))
    else:
        file_of(tmp_path).symlink_to("nowhere")
    with Claims(tmp_path) as mine:
        assert mine.take(KEY) is None
        assert read_claims(tmp_path) == []
        age(file_of(tmp_path), 200)
        assert mine.take(KEY) is not None


def test_a_claim_replaced_while_it_is_removed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = foreign(tmp_path, 200)
    original = Path.open

    def replaced(self: Path, mode: str = "r", **options: object) -> object:
        if self.name.endswith(".removing.tmp"):
            foreign(tmp_path, token="another's")  # between the first look and the second
        return original(self, mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", replaced)
    with Claims(tmp_path) as mine:
        assert mine.take(KEY) is None
    assert json.loads(path.read_text())["token"] == "another's"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_removal_that_was_killed_keeps_nobody_from_a_dead_claim_for_longer_than_a_lease(tmp_path: Path) -> None:
    path = foreign(tmp_path, 200)
    guard = path.with_name(f".{path.name}.removing.tmp")
    guard.touch()
    with Claims(tmp_path) as mine:
        assert mine.take(KEY) is None
        age(guard, 200)
        assert mine.take(KEY) is None, "the guard goes first"
        assert mine.take(KEY) is not None


def test_a_full_disk_says_so_and_leaves_no_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no full device")
    original = Path.open

    def full(self: Path, mode: str = "r", **options: object) -> object:
        if mode == "xb":
            original(self, "xb").close()
            return original(Path("/dev/full"), "wb")
        return original(self, mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with Claims(tmp_path) as mine, pytest.raises(RunError, match=r"can't claim the run .*No space left") as caught:
        mine.take(KEY)
    assert caught.value.exit_code == 1
    assert list((tmp_path / "claims").iterdir()) == []


@pytest.mark.parametrize("dead", [False, True])
def test_sweeping_takes_no_living_claim_away(tmp_path: Path, dead: bool) -> None:
    for _ in range(10):
        if dead:
            foreign(tmp_path, 200)
        with Claims(tmp_path) as shared:
            sweepers = [threading.Thread(target=Claims(tmp_path).sweep) for _ in range(6)]
            for sweeper in sweepers:
                sweeper.start()
            held = shared.take(KEY)
            while held is None:
                held = shared.take(KEY)
            for sweeper in sweepers:
                sweeper.join()
            assert held.path.read_bytes() == held.content


def test_claims_that_no_longer_hold_are_swept(tmp_path: Path) -> None:
    path = foreign(tmp_path, 150)
    assert Store(tmp_path).sweep() == 0
    age(path, 200)
    assert Store(tmp_path).sweep() == 1
    assert list(path.parent.iterdir()) == []
