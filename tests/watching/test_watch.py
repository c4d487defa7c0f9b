"""``status --watch``: when it ends, and what it shows on a terminal and elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up_queue import claim, done, failed, queue, submit

from sparsebench import watching
from sparsebench.cli import main, status, watch
from sparsebench.schema import ResultsError, RunSpec
from sparsebench.store import Store
from sparsebench.watching import Overview, Trouble

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

    def look_over(where: Path) -> Overview:
        if not answers.pop(0):
            raise ResultsError("stale file handle")
        return look(where)

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


class Terminal:
    """A window of a terminal: understands what watching writes, and nothing else."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows = [""] * height
        self.row = self.column = 0
        self.scrolled = 0
        self.log = ""

    def write(self, text: str) -> None:
        self.log += text
        while text:
            for code, act in self._codes().items():
                if text.startswith(code):
                    act()
                    text = text.removeprefix(code)
                    break
            else:
                assert text[0] != "\x1b", repr(text[:10])
                self._put(text[0])
                text = text[1:]

    def flush(self) -> None:
        """Everything is shown at once."""

    def isatty(self) -> bool:
        return True

    def _codes(self) -> dict[str, Callable[[], None]]:
        return {
            "\x1b[?1049h": self._clear,
            "\x1b[?1049l": self._clear,
            "\x1b[?25h": nothing,
            "\x1b[?25l": nothing,
            "\x1b[H": self._home,
            "\x1b[K": self._erase_line,
            "\x1b[J": self._erase_below,
            "\n": self._newline,
        }

    def _clear(self) -> None:
        self.rows = [""] * self.height
        self._home()

    def _home(self) -> None:
        self.row = self.column = 0

    def _erase_line(self) -> None:
        self.rows[self.row] = self.rows[self.row][: self.column]

    def _erase_below(self) -> None:
        self._erase_line()
        self.rows[self.row + 1 :] = [""] * (self.height - self.row - 1)

    def _newline(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == self.height:
            self.rows, self.row = [*self.rows[1:], ""], self.height - 1
            self.scrolled += 1

    def _put(self, letter: str) -> None:
        if self.column == self.width:
            self._newline()
        line = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = line[: self.column] + letter + line[self.column + 1 :]
        self.column += 1


def study(cells: int, running: int, wrong: int = 0) -> Overview:
    """A study of so many cells, the last of which run; so many runs of others have failed."""
    counts = {(f"mini.acdc_s{k:03}", "digits", "linear"): Counter({"done": 3}) for k in range(cells)}
    for cell in list(counts)[cells - running :]:
        counts[cell] = Counter({"done": 1, "running": 2})
    trouble = tuple(Trouble(f"a run whose name is long {k}", "failed", "no reason known", None) for k in range(wrong))
    return Overview(counts, trouble, 60.0)  # type: ignore[arg-type]


def show(monkeypatch: pytest.MonkeyPatch, terminal: Terminal, *looks: Overview) -> list[list[str]]:
    """Watch a study; return what the window showed at each look."""
    shown: list[list[str]] = []
    answers = [*looks, Overview({}, (), None)]
    monkeypatch.setattr(watching, "look_over", lambda _: answers.pop(0))
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(terminal.width))
    monkeypatch.setenv("LINES", str(terminal.height))
    monkeypatch.setattr(watch, "sleep", lambda _: shown.append(list(terminal.rows)))
    watch.watch(argparse.Namespace(results=Path("runs"), interval=1.0))
    return shown


def test_a_table_taller_than_the_window_shows_what_isn_t_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(100, 12)
    ((*rows,),) = show(monkeypatch, terminal, study(cells=40, running=3))
    assert rows[0].startswith("CHECKPOINT")
    assert [row.split()[0] for row in rows[1:10]] == [f"mini.acdc_s{k:03}" for k in (*range(6), 37, 38, 39)]
    assert rows[10] == "... and 31 more cells that are done"
    assert rows[11].startswith("114 done, 6 running, 0 failed, 0 missing of 120 runs in runs; about 60 s left")


def test_cells_that_are_hidden_though_not_done_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ((*rows,),) = show(monkeypatch, Terminal(100, 10), study(cells=40, running=30))
    assert [row.split()[0] for row in rows[1:8]] == [f"mini.acdc_s{k:03}" for k in range(10, 17)]
    assert rows[8] == "... and 33 more cells, 10 of them done"


@pytest.mark.parametrize(("width", "height"), [(100, 24), (30, 10), (20, 5), (9, 3), (1, 1)])
def test_no_window_scrolls_or_wraps(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(width, height)
    looks = [study(40, 30, wrong=15), study(40, 2, wrong=30), study(3, 1)]
    for rows in show(monkeypatch, terminal, *looks):
        assert len(rows) == height
    before = terminal.log.partition("\x1b[?1049l")[0]
    alone = Terminal(width, height)
    alone.write(before)
    assert alone.scrolled == 0
    assert "\x1b[2J" not in before, "nothing flickers: what stays is painted over, not erased"


def test_a_shorter_display_leaves_nothing_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    _, rows = show(monkeypatch, Terminal(60, 12), study(cells=40, running=3, wrong=3), study(cells=2, running=1))
    assert [row.split()[0] for row in rows if row] == ["CHECKPOINT", "mini.acdc_s000", "mini.acdc_s001", "4"]


def test_the_terminal_is_given_back_whatever_ends_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(60, 12)

    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(watch, "_again", lambda *_: fail(None))
    with pytest.raises(ZeroDivisionError):
        show(monkeypatch, terminal, study(2, 1), study(2, 1))
    assert terminal.log.endswith("\x1b[?25h\x1b[?1049l")


def test_an_interrupt_leaves_the_last_look_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(60, 12)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "_again", interrupt)
    show(monkeypatch, terminal, study(2, 1))
    assert "2 running" in terminal.log.partition("\x1b[?1049l")[2]


def test_without_a_window_everything_is_shown() -> None:
    lines = status.full(study(cells=40, running=3, wrong=30), argparse.Namespace(results=Path("runs")))
    assert sum(line.startswith("mini.") for line in lines) == 40
    assert sum(line.startswith("failed:") for line in lines) == 10
    assert lines[-1] == "... and 20 more failed or lost"
