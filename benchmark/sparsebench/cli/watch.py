"""``status --watch``: look again and again until nothing is to come; in place on a terminal, as lines elsewhere."""

from __future__ import annotations

import argparse
import shutil
import sys
from time import sleep, strftime
from types import TracebackType
from typing import TYPE_CHECKING

from ..schema import SparsebenchError
from .status import fitting, full, summary

if TYPE_CHECKING:
    from ..watching import Overview

_IDLE_LOOKS = 2
"""Between two groups or jobs nothing may seem to run, for a moment."""


def watch(arguments: argparse.Namespace) -> Overview:
    """Show how far the plans of a results folder are until nothing runs and nothing is queued; return the last look.

    While Slurm should be asked and can't be, that isn't known, and watching goes on.
    """
    from ..watching import look_over

    overview = look_over(arguments.results)
    screen = _Screen() if sys.stdout.isatty() else _Lines()
    idle = 0
    try:
        with screen:
            while True:
                idle = 0 if overview.active else idle + 1
                if idle >= _IDLE_LOOKS or (idle and overview.complete):
                    break
                screen.show(overview, arguments)
                sleep(arguments.interval)
                while (again := _again(arguments, screen)) is None:
                    idle = 0
                    sleep(arguments.interval)
                overview = again
    except KeyboardInterrupt:
        print("\nno longer watching; what runs goes on", file=sys.stderr)
        if not screen.vanishes:
            return overview
    print("\n".join(full(overview, arguments)))
    return overview


def _again(arguments: argparse.Namespace, screen: _Lines) -> Overview | None:
    """Look again; a hiccup of the file system is no reason to stop watching, and no look."""
    from ..watching import look_over

    try:
        return look_over(arguments.results)
    except (OSError, SparsebenchError) as error:
        screen.warn(f"warning: {error}")
        return None


class _Lines:
    """Plain lines with the time, one when something has changed."""

    vanishes = False

    def __init__(self) -> None:
        self._before: tuple[str, ...] = ()

    def __enter__(self) -> None:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End to show."""

    def show(self, overview: Overview, arguments: argparse.Namespace) -> None:
        """Show a look."""
        lines = (summary(overview, arguments), *(f"note: {note}" for note in overview.notes))
        for line in lines:
            if line not in self._before:
                print(strftime("%H:%M:%S"), line, flush=True)
        self._before = lines

    def warn(self, text: str) -> None:
        """Say that a look didn't succeed."""
        print(text, file=sys.stderr, flush=True)


class _Screen(_Lines):
    """A terminal's other screen, painted over in place, so that what was there comes back at the end."""

    vanishes = True

    _OPEN, _CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
    _HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"

    def __enter__(self) -> None:
        self._write(self._OPEN)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(self._CLOSE)

    def show(self, overview: Overview, arguments: argparse.Namespace) -> None:
        width, height = shutil.get_terminal_size()
        lines = fitting(overview, arguments, width, height)
        painted = (self._REST_OF_LINE + "\n").join(lines)  # no line break at the end: the window would scroll
        self._write(self._HOME + painted + self._REST_OF_LINE + self._REST_OF_SCREEN)

    def warn(self, text: str) -> None:
        width, _ = shutil.get_terminal_size()
        self._write(self._HOME + text.splitlines()[0][:width] + self._REST_OF_LINE)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
