"""``status --watch``: look again and again until nothing is to come; in place on a terminal, as lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from time import sleep, strftime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..schema import SparsebenchError
from .status_lines import display, summary

if TYPE_CHECKING:
    from ..runs.status import Overview
    from ..runs.status.counting import Cell

_IDLE_LOOKS = 2
"""Between two groups or jobs nothing may seem to run, for a moment."""


def watch(results: Path, interval: float, wanted: Callable[[Cell], bool] | None = None) -> Overview:
    """Show how far the plans of a results folder are until nothing runs and nothing is queued; return the last look.

    While Slurm should be asked and can't be, that isn't known, and watching goes on.
    """
    from ..runs.status import look_over

    overview = look_over(results, wanted)
    shown = _Screen(results) if sys.stdout.isatty() else _Lines(results)
    idle = 0
    try:
        with shown.live or contextlib.nullcontext():
            while True:
                idle = 0 if overview.active else idle + 1
                if idle >= _IDLE_LOOKS or (idle and overview.complete):
                    break
                shown.show(overview)
                sleep(interval)
                try:
                    overview = look_over(results, wanted)
                except (OSError, SparsebenchError) as error:  # a hiccup of the file system is no look
                    print(f"warning: {error}", file=sys.stderr, flush=True)
                    idle = -1
    except KeyboardInterrupt:
        print("\nno longer watching; what runs goes on", file=sys.stderr)
    print("\n".join(display(overview, results)))
    return overview


class _Lines:
    """Plain lines with the time, one when something has changed."""

    live: Live | None = None

    def __init__(self, results: Path) -> None:
        self._results = results
        self._before: list[str] = []

    def show(self, overview: Overview) -> None:
        """Show what was found."""
        lines = [summary(overview, self._results), *(f"note: {note}" for note in overview.notes)]
        for line in lines:
            if line not in self._before:
                print(strftime("%H:%M:%S"), line, flush=True)
        self._before = lines


class _Screen(_Lines):
    """A terminal's other screen, painted over in place, so that what was there comes back at the end."""

    def __init__(self, results: Path) -> None:
        super().__init__(results)
        self._console = Console()
        self.live = Live(console=self._console, screen=True, auto_refresh=False)

    def show(self, overview: Overview) -> None:
        if self.live is not None:
            lines = display(overview, self._results, self._console.height)
            self.live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
