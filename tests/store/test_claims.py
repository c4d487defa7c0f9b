"""Claims: one holder a run, however many ask; a dead or silent holder is replaced, a living one is not."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsebench import files
from sparsebench.schema import RunError
from sparsebench.store import Claims, Store, claims, read_claims
from sparsebench.store.owner import Owner, certainly_gone, this_process

RUN = "0123456789abcdef"


def file_of(results: Path) -> Path:
    return results / "claims" / f"{RUN}.json"


def foreign(results: Path, age: float = 0.0, lease: float = 60.0, **owner: object) -> Path:
    """Leave a claim as a process on another machine would."""
    fields = {"host": "node17", "machine": "m", "pid": 1, "process_started": "5"} | owner
    claim = claims.Claim(run_id=RUN, token="theirs", owner=Owner(**fields), lease_seconds=lease, taken="2026-01-01")
    files.write_text(file_of(results), claim.model_dump_json())
    date = time.time() - age
    os.utime(file_of(results), (date, date))
    return file_of(results)


def test_a_run_has_one_holder_until_it_is_released(tmp_path: Path) -> None:
    with Claims(tmp_path) as one, Claims(tmp_path) as two:
        held = one.take(RUN)
        assert held is not None
        assert one.take(RUN) is None
        assert two.take(RUN) is None
        assert two.take("another") is not None
        (claim, age, dead), *_ = read_claims(tmp_path)
        assert (claim.run_id, claim.owner.pid, dead) == (RUN, os.getpid(), False)
        assert age < 30
        one.release(held)
        one.release(held)
        assert two.take(RUN) is not None
    assert list((tmp_path / "claims").iterdir()) == []


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_threads_one_gets_it(tmp_path: Path, dead: bool) -> None:
    if dead:
        foreign(tmp_path, age=100)
    with Claims(tmp_path) as shared:
        start, got = threading.Barrier(16), []

        def ask() -> None:
            start.wait()
            got.append(shared.take(RUN))

        askers = [threading.Thread(target=ask) for _ in range(16)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert sum(held is not None for held in got) == 1


def test_a_lease_that_ran_out_is_taken_over_and_its_holder_notices(tmp_path: Path) -> None:
    with Claims(tmp_path, lease_seconds=60) as one, Claims(tmp_path) as two:
        held = one.take(RUN)
        assert held is not None
        os.utime(held.path, (time.time() - 59, time.time() - 59))
        assert two.take(RUN) is None
        os.utime(held.path, (time.time() - 61, time.time() - 61))
        theirs = two.take(RUN)
        assert theirs is not None
        assert not claims.renew(held.path, held.claim)
        one.release(held)
        standing = claims.look(file_of(tmp_path))
        assert standing is not None
        assert standing.token == theirs.claim.token, "who lost a claim doesn't release the new holder's"


def test_a_claim_is_renewed_while_its_holder_lives(tmp_path: Path) -> None:
    with Claims(tmp_path, lease_seconds=0.6) as one, Claims(tmp_path) as two:
        assert one.take(RUN) is not None
        for _ in range(6):
            time.sleep(0.2)
            assert two.take(RUN) is None
        one._closed.set()  # as if it were suspended
        time.sleep(1.0)
        assert two.take(RUN) is not None


@pytest.mark.parametrize("skew", [-1e6, 1e6])
def test_the_clocks_of_the_nodes_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    real = time.time
    foreign(tmp_path, age=10)
    monkeypatch.setattr(time, "time", lambda: real() + skew)
    monkeypatch.setattr(time, "time_ns", lambda: int((real() + skew) * 1e9))
    with Claims(tmp_path) as mine:
        assert mine.take(RUN) is None


def test_a_file_system_with_a_strange_clock_is_judged_by_watching(tmp_path: Path) -> None:
    foreign(tmp_path, age=-1e6, lease=0.3)
    with Claims(tmp_path) as mine:
        assert mine.take(RUN) is None
        time.sleep(0.2)
        os.utime(file_of(tmp_path), (time.time() + 2e6, time.time() + 2e6))
        time.sleep(0.2)
        assert mine.take(RUN) is None, "it has been renewed meanwhile"
        time.sleep(0.4)
        assert mine.take(RUN) is not None


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from sparsebench.store import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take(sys.argv[2]) is not None, flush=True)
time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[1])}
    command = [sys.executable, "-c", program, str(tmp_path), RUN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with Claims(tmp_path) as mine:
            assert mine.take(RUN) is None
            holder.kill()
            deadline = time.monotonic() + 10
            while mine.take(RUN) is None:  # also before anyone has waited for the dead process
                assert time.monotonic() < deadline
                time.sleep(0.05)


def test_who_is_gone_and_who_may_live() -> None:
    me = this_process()
    assert not certainly_gone(me, me)
    if me.machine is None:
        pytest.skip("this system doesn't tell processes of one machine apart")
    assert certainly_gone(me.model_copy(update={"process_started": "1"}), me), "a later process of the same number"
    assert certainly_gone(me.model_copy(update={"pid": 2**22 + 1}), me)
    assert not certainly_gone(me.model_copy(update={"pid": 2**22 + 1, "machine": "other"}), me), "a namesake"
    mine = me.model_copy(update={"slurm_job": "7", "slurm_restarts": 1})
    theirs = Owner(host="node17", machine="m", pid=1, slurm_job="7", slurm_restarts=0)
    assert certainly_gone(theirs, mine), "the same job before it was requeued"
    assert not certainly_gone(theirs.model_copy(update={"slurm_restarts": 1}), mine), "another task of the same job"
    assert not certainly_gone(theirs.model_copy(update={"slurm_job": "8"}), mine)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=60))
def test_a_damaged_claim_runs_out_like_any_other(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    results = tmp_path_factory.mktemp("junk")
    files.write_bytes(file_of(results), junk)
    with Claims(results) as mine:
        assert mine.take(RUN) is None
        assert read_claims(results) == []
        os.utime(file_of(results), (time.time() - 200, time.time() - 200))
        assert mine.take(RUN) is not None


def test_where_links_are_not_known_files_are_made_exclusively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with Claims(tmp_path) as one, Claims(tmp_path) as two:
        assert one.take(RUN) is not None
        assert two.take(RUN) is None


def test_a_link_whose_answer_was_lost_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = Path.hardlink_to

    def twice(self: Path, target: Path) -> None:
        link(self, target)
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", twice)
    with Claims(tmp_path) as one:
        assert one.take(RUN) is not None


def test_a_claim_renewed_while_it_is_taken_over_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = foreign(tmp_path, age=100)
    create = claims.create

    def renewed(*arguments: object) -> bool:
        os.utime(path)
        return create(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(claims, "create", renewed)
    with Claims(tmp_path) as mine:
        assert mine.take(RUN) is None
    assert json.loads(path.read_text())["token"] == "theirs"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_who_dies_while_taking_over_is_taken_over_too(tmp_path: Path) -> None:
    path = foreign(tmp_path, age=100)
    right = path.with_name(f".{path.name}.theirs.tmp")
    right.write_bytes(path.read_bytes())
    with Claims(tmp_path) as mine:
        assert mine.take(RUN) is None
        os.utime(right, (0, 0))
        assert mine.take(RUN) is not None
        assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_token_names_no_file_elsewhere(tmp_path: Path) -> None:
    path = foreign(tmp_path, age=100)
    path.write_text(path.read_text().replace("theirs", "../../x"))
    os.utime(path, (0, 0))
    with Claims(tmp_path / "a") as mine:
        assert mine.take(RUN) is not None
    with Claims(tmp_path) as mine:
        assert mine.take(RUN) is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "claims"]


@pytest.mark.parametrize("dead", [False, True])
def test_sweeping_takes_no_living_claim_away(tmp_path: Path, dead: bool) -> None:
    for _ in range(10):
        if dead:
            foreign(tmp_path, age=100)
        with Claims(tmp_path) as shared:
            sweepers = [threading.Thread(target=Claims(tmp_path).sweep) for _ in range(6)]
            for sweeper in sweepers:
                sweeper.start()
            held = shared.take(RUN)
            while held is None:
                held = shared.take(RUN)
            for sweeper in sweepers:
                sweeper.join()
            standing = claims.look(held.path)
            assert standing is not None
            assert standing.token == held.claim.token


def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with Claims(tmp_path) as mine, pytest.raises(RunError, match=r"can't claim the run .*No space left") as caught:
        mine.take(RUN)
    assert caught.value.exit_code == 1


def test_a_hiccup_while_renewing_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Claims(tmp_path, lease_seconds=0.3) as mine:
        held = mine.take(RUN)
        assert held is not None
        with monkeypatch.context() as patch:
            patch.setattr(claims, "renew", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "hiccup")))
            time.sleep(0.3)
        before = held.path.stat().st_mtime_ns
        time.sleep(0.3)
        assert held.path.stat().st_mtime_ns > before
        assert not held.lost


def test_claims_that_no_longer_hold_are_swept(tmp_path: Path) -> None:
    path = foreign(tmp_path, age=59)
    assert Store(tmp_path).sweep() == 0
    os.utime(path, (time.time() - 61, time.time() - 61))
    assert Store(tmp_path).sweep() == 1
    assert list(path.parent.iterdir()) == []
