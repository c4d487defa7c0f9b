"""``status --watch``: when it ends, and what it shows on a terminal and elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_queue import claim, done, failed, queue, submit

from sparsebench.cli import main, status, watch
from sparsebench.runs import status as watching
from sparsebench.runs.status import Overview, Trouble
from sparsebench.schema import ResultsError, RunSpec
from sparsebench.store import Store

pytestmark = pytest.mark.usefixtures("fake")


class Looks:
    """Stands for the time between looks: runs what is to happen then, in turn; there must be no more looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *then: Callable[[], object]) -> None:
        self.left = list(then)
        monkeypatch.setattr(watch, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        assert self.left, "watching should have ended"
        self.left.pop(0)()


def nothing() -> None:
    """Nothing happens between two looks."""


def watched(results: Path) -> int:
    return main(["status", "--watch", "--results", str(results)])


def test_watching_ends_when_nothing_runs_any_more(
    fake: Path, runs: list[RunSpec], results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(fake, submit(results, runs[:1]), "70_0")

    def finish() -> None:
        done(results, runs[0])
        (fake / "queue").write_text("")

    looks = Looks(monkeypatch, nothing, finish, nothing)
    assert watched(results) == 0
    assert looks.left == []
    out = capsys.readouterr().out
    assert "0 done, 1 queued, 0 failed, 5 missing of 6 runs" in out
    assert "1 done, 0 failed, 5 missing of 6 runs" in out
    assert out.count("1 queued") == 1, "a line only when something has changed"
    assert "\x1b" not in out, "plain lines where there is no terminal"


def test_a_moment_in_which_nothing_runs_does_not_end_watching(
    runs: list[RunSpec], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish() -> None:
        done(results, *runs, started="2100-01-01T00:00:00+00:00")

    looks = Looks(monkeypatch, lambda: claim(results, runs[0]), finish)  # idle, then running, then all is done
    assert watched(results) == 0
    assert looks.left == []


def test_watching_ends_at_once_where_every_run_has_ended(
    runs: list[RunSpec], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(results, *runs[1:])
    Store(results).write_failure(failed(runs[0]))
    Looks(monkeypatch)
    assert watched(results) == 1


def test_watching_goes_on_while_slurm_can_t_be_asked(
    fake: Path, runs: list[RunSpec], results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(fake, submit(results, runs[:1]), "70_0", state="RUNNING")
    (fake / "deaf").touch()
    looks = Looks(monkeypatch, nothing, nothing, nothing, (fake / "deaf").unlink, lambda: done(results, *runs))
    assert watched(results) == 0
    assert looks.left == []
    out = capsys.readouterr().out
    assert out.count("Slurm's queue is not known now: squeue: slurm_load_jobs error") == 1
    assert out.index("not known now") < out.index("1 queued") < out.index("6 done")


def test_a_hiccup_of_the_file_system_is_said_and_is_no_look(
    runs: list[RunSpec], results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    look, answers = watching.look_over, [True, False, True, True]

    def look_over(where: Path, *more: Any) -> Overview:
        if not answers.pop(0):
            raise ResultsError("stale file handle")
        return look(where, *more)

    monkeypatch.setattr(watching, "look_over", look_over)
    Looks(monkeypatch, *[nothing] * 3)
    assert watched(results) == 0
    assert answers == []
    assert "warning: stale file handle" in capsys.readouterr().err


def test_an_interrupt_ends_watching_alone(
    runs: list[RunSpec], results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    claim(results, runs[0])
    Looks(monkeypatch, interrupt)
    assert watched(results) == 0
    assert "no longer watching; what runs goes on" in capsys.readouterr().err


def study(cells: int, running: int, wrong: int = 0) -> Overview:
    """Make up an overview: three runs per cell; the last cells are at work."""
    counts = {
        (f"mini.acdc_s{k:03}", "digits", "full"): Counter(
            {"done": 2, "running": 1} if k >= cells - running else {"done": 3}
        )
        for k in range(cells)
    }
    log = Path("runs/logs/x.jsonl")
    trouble = tuple(Trouble(f"run {k}", "failed", "diverged", log) for k in range(wrong))
    return Overview(counts, trouble, 60.0)  # type: ignore[arg-type]


def test_cells_at_work_come_first_where_not_all_can_be_shown() -> None:
    rows = status.display(study(cells=40, running=6), Path("runs"), height=12)
    assert len(rows) == 12
    assert rows[0].startswith("CHECKPOINT")
    assert [row.split()[0] for row in rows[1:10]] == [f"mini.acdc_s{k:03}" for k in (*range(34, 40), 0, 1, 2)]
    assert rows[10] == "... and 31 more cells"
    assert rows[11].startswith("114 done, 6 running, 0 failed, 0 missing of 120 runs in runs; about 60 s left")


@pytest.mark.parametrize("height", [24, 10, 5, 3, 1])
def test_a_display_is_no_higher_than_its_window(height: int) -> None:
    for look in (study(40, 30, wrong=15), study(40, 2, wrong=30), study(3, 1)):
        assert len(status.display(look, Path("runs"), height)) <= height


def test_without_a_window_everything_is_shown() -> None:
    lines = status.display(study(cells=40, running=3, wrong=30), Path("runs"))
    assert sum(line.startswith("mini.") for line in lines) == 40
    assert sum(line.startswith("failed:") for line in lines) == 10
    assert lines[-1] == "... and 20 more failed or lost"


def test_on_a_terminal_the_last_look_stays(
    runs: list[RunSpec], results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    claim(results, runs[0])
    Looks(monkeypatch, lambda: done(results, *runs, started="2100-01-01T00:00:00+00:00"))
    assert watched(results) == 0
    before, given_back, after = capsys.readouterr().out.partition("\x1b[?1049l")
    assert "1 running" in before
    assert given_back
    assert "6 done, 0 failed, 0 missing of 6 runs" in after
