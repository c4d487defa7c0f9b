"""``sparsebench status``: what is done, running, queued, failed, lost and missing in a results folder."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .listing import columns

if TYPE_CHECKING:
    from ..watching import Overview, State
    from ..watching.overview import Cell

_SHOWN = 10
_TITLES = {
    "done": "DONE",
    "running": "RUNNING",
    "queued": "QUEUED",
    "failed": "FAILED",
    "lost": "LOST",
    "missing": "MISSING",
}
_FIRST: tuple[tuple[State, ...], ...] = (("running",), ("queued",), ("failed", "lost"), ("missing",))
"""What a cell must have some of to be shown before others, where not all can be."""


def main(arguments: argparse.Namespace) -> int:
    """Show how far the plans of a results folder are; 1 if a run has failed or was lost."""
    from ..watching import look_over
    from .watch import watch

    if arguments.watch:
        overview = watch(arguments)
    else:
        overview = look_over(arguments.results)
        print("\n".join(full(overview, arguments)))
    counts = overview.counts
    return 1 if counts["failed"] or counts["lost"] else 0


def full(overview: Overview, arguments: argparse.Namespace) -> list[str]:
    """Return the lines of the whole display: a row a cell, the sums, and what went wrong."""
    lines = _table(overview, overview.cells) if overview.cells else []
    return [*lines, *_below(overview, arguments, _SHOWN)]


def fitting(overview: Overview, arguments: argparse.Namespace, width: int, height: int) -> list[str]:
    """Return the lines of a display that fits into a window: of the cells, those that aren't done come first."""
    below = _below(overview, arguments, max(1, min(_SHOWN, height // 6)))
    room = max(1, height - len(below) - 1)  # less the header
    cells = list(overview.cells)
    if len(cells) > room:
        shown = set(sorted(cells, key=lambda cell: _rank(overview.cells[cell]))[: max(1, room - 1)])
        hidden = [cell for cell in cells if cell not in shown]
        done = sum(set(+overview.cells[cell]) == {"done"} for cell in hidden)
        more = f"... and {len(hidden)} more cells" + (
            " that are done" if done == len(hidden) else f", {done} of them done"
        )
        lines = [*_table(overview, [cell for cell in cells if cell in shown]), more]
    else:
        lines = _table(overview, cells) if cells else []
    return [line if len(line) <= width else line[: max(0, width - 1)] + "…" for line in [*lines, *below]][:height]


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


def _table(overview: Overview, cells: Iterable[Cell]) -> list[str]:
    """Return a header and a line a cell; which columns there are depends on the whole."""
    from ..watching import STATES

    counts = overview.counts
    shown = [state for state in STATES if counts[state] or state in ("done", "failed", "missing")]
    rows = [["CHECKPOINT", "TASK", "MODE", *(_TITLES[state] for state in shown)]]
    rows += [[*cell, *(str(overview.cells[cell][state]) for state in shown)] for cell in cells]
    return columns(rows).splitlines()


def _rank(counts: Counter[State]) -> int:
    return next((k for k, states in enumerate(_FIRST) if any(counts[state] for state in states)), len(_FIRST))


def _below(overview: Overview, arguments: argparse.Namespace, shown: int) -> list[str]:
    """Return the sums, the notes, and so many of the runs that went wrong."""
    lines = [summary(overview, arguments), *(f"note: {note}" for note in overview.notes)]
    for entry in overview.trouble[:shown]:
        reason = entry.reason.splitlines()[0] if entry.reason else "?"
        lines.append(f"{entry.state}: {entry.label}: {reason}")
        if entry.log is not None:
            lines.append(f"        log: {entry.log}")
    if len(overview.trouble) > shown:
        lines.append(f"... and {len(overview.trouble) - shown} more failed or lost")
    return lines
