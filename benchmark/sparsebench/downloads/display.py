"""Progress of downloads for people, on standard error: a bar with an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_EVERY = 30.0


class TransferDisplay:
    """Shows one file after the other; use as a context, and give its methods to a :class:`.Fetcher`."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=4,
        )
        self._task: TaskID | None = None
        self._title = "fetching"
        self._started = self._next = time.monotonic()
        self._first: float | None = None

    def __enter__(self) -> TransferDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._progress.stop()

    def begin(self, title: str) -> None:
        """Start with another file."""
        self._title, self._first = title, None
        self._started = time.monotonic()
        self._next = self._started + _EVERY
        if self._live:
            if self._task is None:
                self._progress.start()
            else:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(title, total=None)
        else:
            self.line(f"fetching {title}")

    def update(self, done: float, total: float) -> None:
        """Show how far the file is, in bytes; an infinite total is unknown."""
        if self._first is None:
            self._first = done
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=None if math.isinf(total) else total)
            return
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY
            of = "" if math.isinf(total) else f" of {total / 1e6:.1f}"
            self.line(f"{self._title}: {done / 1e6:.1f}{of} MB{self._left(now, done, total)}")

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if self._live:
            self._progress.console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _left(self, now: float, done: float, total: float) -> str:
        fresh = done - (self._first or 0.0)
        if math.isinf(total) or fresh <= 0:
            return ""
        seconds = round((now - self._started) * (total - done) / fresh)
        return f", about {seconds // 60}:{seconds % 60:02d} left"
