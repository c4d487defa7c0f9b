"""Progress for people, on standard error: a bar with an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ..common.progress import Pace
from ..schema import Mode, RunRecord, RunSpec

if TYPE_CHECKING:
    from ..runs.runner import Event

_PRIOR_SECONDS: dict[Mode, float] = {"linear": 1.0, "full": 20.0, "upstream": 5.0}
"""What a run is taken to last until one of its mode has ended."""


def clock(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    total = round(seconds)
    hours, minutes = divmod(total // 60, 60)
    return f"{hours}:{minutes:02d}:{total % 60:02d}" if hours else f"{minutes}:{total % 60:02d}"


class Estimate:
    """Estimates the time that runs will take from those of their mode that have ended."""

    def __init__(self, runs: Iterable[RunSpec], jobs: int) -> None:
        self._waiting = {run.record_key: run for run in runs}
        self._jobs = jobs
        self._seen: dict[str, list[float]] = defaultdict(list)
        self._paces: dict[str, Pace] = defaultdict(Pace)

    def seconds_of(self, run: RunSpec) -> float:
        """Return what a run is expected to last."""
        times = self._seen.get(f"{run.task}/{run.mode}") or self._seen.get(run.mode)
        return sum(times) / len(times) if times else _PRIOR_SECONDS[run.mode]

    def ended(self, record: RunRecord) -> None:
        """Learn from a run that has ended."""
        self._waiting.pop(record.record_key, None)
        if record.seconds is not None and record.status == "ok":
            self._seen[f"{record.spec.task}/{record.spec.mode}"].append(record.seconds)
            self._seen[record.spec.mode].append(record.seconds)

    def remaining(self, fractions: dict[str, float]) -> float:
        """Return the seconds to the end, given how far the runs in progress are: by their own pace, if that is more."""
        return sum(self._left(key, run, fractions) for key, run in self._waiting.items()) / self._jobs

    def _left(self, key: str, run: RunSpec, fractions: dict[str, float]) -> float:
        expected = self.seconds_of(run)
        if not fractions.get(key):  # a resumed run's first report is what was done before
            return expected
        own = self._paces[key].left(fractions[key], 1.0) or 0.0
        return max(own, expected * (1 - fractions[key]))


class RunDisplay:
    """Shows a plan's progress; use as a context, and give :meth:`emit` to the executor.

    Parameters
    ----------
    runs : list of RunSpec
        The runs to come.
    jobs : int
        How many run at once.
    """

    def __init__(self, runs: list[RunSpec], jobs: int) -> None:
        self._runs = {run.record_key: run for run in runs}
        self._estimate = Estimate(runs, jobs)
        self._fractions: dict[str, float] = {}
        self._done = 0
        self._bar = Bar("running", total=len(runs))

    def __enter__(self) -> RunDisplay:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, value, trace)

    def emit(self, event: Event) -> None:
        """Show an event."""
        if event.kind == "done" and event.record is not None:
            self._end(event.record)
        elif event.kind == "progress" and event.total > 0:
            self._fractions[event.key] = event.done / event.total
        else:
            self._fractions[event.key] = 0.0
        self._draw()

    def line(self, text: str) -> None:
        """Print a line that stays."""
        self._bar.line(text)

    def _end(self, record: RunRecord) -> None:
        self._done += 1
        self._fractions.pop(record.record_key, None)
        self._estimate.ended(record)
        if record.status == "failed" or not self._bar.live:
            left = clock(self._estimate.remaining(self._fractions))
            took = f"{record.seconds:.1f} s" if record.seconds is not None else "?"
            self._bar.line(f"[{self._done}/{len(self._runs)}] {outcome(record)} ({took}, about {left} left)")

    def _draw(self) -> None:
        now = next((self._runs[i] for i in self._fractions if i in self._runs), None)
        label = "" if now is None else f"{now.checkpoint} · {now.task} · {now.mode} · seed {now.seed}"
        left = clock(self._estimate.remaining(self._fractions))
        self._bar.update(self._done + sum(self._fractions.values()), len(self._runs), f"{label}  about {left} left")


def outcome(record: RunRecord) -> str:
    """Return one line on how a run ended."""
    spec = record.spec
    label = f"{spec.checkpoint} · {spec.task} · {spec.mode} · seed {spec.seed}"
    if record.scores is not None:
        return f"{label}: {getattr(record.scores, spec.metric):.1%}"
    message = record.failure.message.splitlines()[0] if record.failure and record.failure.message else "no reason known"
    return f"{label}: failed: {message}"


class Bar:
    """A progress bar on a terminal; elsewhere only the lines, and now and then how far it is.

    Parameters
    ----------
    title : str
        What is going on.
    total : float, optional
        The work there is.
    """

    _EVERY = 30.0

    def __init__(self, title: str, total: float | None = None) -> None:
        self._console = Console(stderr=True, highlight=False)
        self.live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._title = title
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task(title, total=total, note="")
        self._pace = Pace()
        self._next = time.monotonic() + self._EVERY

    def __enter__(self) -> Bar:
        if self.live:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self._progress.stop()

    def update(self, done: float, total: float, note: str | None = None) -> None:
        """Show how far it is; without a note, with an estimate of the time left."""
        now = time.monotonic()
        if note is None:
            left = self._pace.left(done, total)
            note = "" if left is None else f"about {clock(left)} left"
        if self.live:
            self._progress.update(self._task, completed=done, total=total, note=note)
        elif now >= self._next:
            self._next = now + self._EVERY
            self.line(", ".join(filter(None, (f"{self._title}: {done / total:.0%}", note.strip()))))

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if self.live:
            self._progress.console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)
