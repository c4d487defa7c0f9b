"""Progress of downloads for people, on standard error: a bar with an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_EVERY = 30.0


class TransferDisplay:
    """Shows one file after the other; use as a context, and give its methods to a :class:`.Fetcher`.

    What draws is imported at the first file: most commands fetch none.
    """

    def __init__(self) -> None:
        self._next = math.inf

    @cached_property
    def _progress(self) -> Progress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = Console(stderr=True, highlight=False)
        self._live = console.is_terminal and not console.is_dumb_terminal
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            refresh_per_second=4,
            get_time=lambda: time.monotonic(),
            disable=not self._live,  # it still reckons the time that is left
        )
        self._task = bar.add_task("fetching", total=None)
        return bar

    def __enter__(self) -> TransferDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        if "_progress" in self.__dict__:
            self._progress.stop()

    def begin(self, title: str) -> None:
        """Start with another file."""
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(title, total=None)
        self._progress.start()
        self._next = time.monotonic() + _EVERY
        if not self._live:
            self.line(f"fetching {title}")

    def update(self, done: float, total: float) -> None:
        """Show how far the file is, in bytes; an infinite total is unknown."""
        self._progress.update(self._task, completed=done, total=None if math.isinf(total) else total)
        if self._live or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        (task,) = self._progress.tasks
        seconds = task.time_remaining
        of = "" if math.isinf(total) else f" of {total / 1e6:.1f}"
        left = "" if seconds is None else f", about {seconds // 60:.0f}:{seconds % 60:02.0f} left"
        self.line(f"{task.description}: {done / 1e6:.1f}{of} MB{left}")

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if "_progress" in self.__dict__ and self._live:
            self._progress.console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)
