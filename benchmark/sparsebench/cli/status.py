"""``sparsebench status``: what is done, running, queued, failed, lost and missing in a results folder."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..schema import SparsebenchError
from .listing import columns

if TYPE_CHECKING:
    from ..watching import Overview

_SHOWN = 10
_TITLES = {
    "done": "DONE",
    "running": "RUNNING",
    "queued": "QUEUED",
    "failed": "FAILED",
    "lost": "LOST",
    "missing": "MISSING",
}


def main(arguments: argparse.Namespace) -> int:
    """Show how far the plans of a results folder are; 1 if a run has failed or was lost."""
    from ..watching import look_over

    if arguments.watch:
        return _watch(arguments)
    overview = look_over(arguments.results)
    print("\n".join(full(overview, arguments)))
    return _exit_code(overview)


def _watch(arguments: argparse.Namespace) -> int:
    """Show it again and again until nothing runs and nothing is queued; in place where this is a terminal."""
    from ..watching import look_over

    overview, before = look_over(arguments.results), ""
    try:
        while overview.active:
            if sys.stdout.isatty():
                sys.stdout.write("\x1b[H\x1b[2J" + "\n".join(full(overview, arguments)) + "\n")
                sys.stdout.flush()
            elif (line := summary(overview, arguments)) != before:
                print(time.strftime("%H:%M:%S"), line, flush=True)
                before = line
            time.sleep(arguments.interval)
            overview = _again(overview, arguments)
    except KeyboardInterrupt:
        print("\nno longer watching; what runs goes on", file=sys.stderr)
        return _exit_code(overview)
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[H\x1b[2J")
    print("\n".join(full(overview, arguments)))
    return _exit_code(overview)


def _again(before: Overview, arguments: argparse.Namespace) -> Overview:
    """Look again; a hiccup of the file system is no reason to stop watching."""
    from ..watching import look_over

    try:
        return look_over(arguments.results)
    except (OSError, SparsebenchError) as error:
        print(f"warning: {error}", file=sys.stderr)
        return before


def full(overview: Overview, arguments: argparse.Namespace) -> list[str]:
    """Return the lines of the whole display: a row a cell, the sums, and what went wrong."""
    from ..watching import STATES

    counts = overview.counts
    shown = [state for state in STATES if counts[state] or state in ("done", "failed", "missing")]
    rows = [["CHECKPOINT", "TASK", "MODE", *(_TITLES[state] for state in shown)]]
    rows += [[*cell, *(str(found[state]) for state in shown)] for cell, found in overview.cells.items()]
    lines = [columns(rows)] if overview.cells else []
    lines.append(summary(overview, arguments))
    lines += [f"note: {note}" for note in overview.notes]
    lines += _trouble(overview)
    return lines


def summary(overview: Overview, arguments: argparse.Namespace) -> str:
    """Return one line: the number of runs in each state, and the estimate to the end."""
    from ..watching import STATES

    counts = overview.counts
    parts = [f"{counts[s]} {s}" for s in STATES if counts[s] or s in ("done", "failed", "missing")]
    left = "" if overview.seconds_left is None else f"; about {duration(overview.seconds_left)} left"
    return f"{', '.join(parts)} of {counts.total()} runs in {arguments.results}{left}"


def duration(seconds: float) -> str:
    """Return a time for people: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _trouble(overview: Overview) -> Iterable[str]:
    for entry in overview.trouble[:_SHOWN]:
        reason = entry.reason.splitlines()[0] if entry.reason else "?"
        yield f"{entry.state}: {entry.label}: {reason}"
        if entry.log is not None:
            yield f"        log: {entry.log}"
    if len(overview.trouble) > _SHOWN:
        yield f"... and {len(overview.trouble) - _SHOWN} more failed or lost"


def _exit_code(overview: Overview) -> int:
    counts = overview.counts
    return 1 if counts["failed"] or counts["lost"] else 0
