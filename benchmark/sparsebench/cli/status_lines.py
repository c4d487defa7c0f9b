"""How far plans are, as lines of text: one per cell, the sums, and what went wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .listing import columns

if TYPE_CHECKING:
    from ..runs.status import Overview


_SHOWN = 10
"""Failed and lost runs that are named."""


def display(overview: Overview, results: Path, height: int | None = None) -> list[str]:
    """Return the lines of the display: one row per cell, the sums, and what went wrong.

    Parameters
    ----------
    overview : Overview
        What to show.
    results : Path
        The results folder.
    height : int, optional
        Lines that there are; where not all cells can be shown, those that aren't done come first.
    """
    from ..runs.status import STATES

    counts = overview.counts
    shown = [state for state in STATES if counts[state] or state in ("done", "failed", "missing")]
    below = [summary(overview, results), *(f"note: {note}" for note in overview.notes)]
    below += _trouble(overview, _SHOWN if height is None else max(1, height // 6))
    cells, more = list(overview.cells), []
    if height is not None and len(cells) + len(below) >= height:
        cells.sort(key=lambda cell: overview.cells[cell]["done"] == overview.cells[cell].total())
        keep = max(1, height - len(below) - 2)
        cells, more = cells[:keep], [f"... and {len(cells) - keep} more cells"]
    rows = [["CHECKPOINT", "TASK", "MODE", *(state.upper() for state in shown)]]
    rows += [[*cell, *(str(overview.cells[cell][state]) for state in shown)] for cell in cells]
    return [*(columns(rows).splitlines() if cells else []), *more, *below][:height]


def summary(overview: Overview, results: Path) -> str:
    """Return one line: the number of runs in each state, and the estimate to the end."""
    from ..runs.status import STATES

    counts = overview.counts
    parts = [f"{counts[s]} {s}" for s in STATES if counts[s] or s in ("done", "failed", "missing")]
    left = "" if overview.seconds_left is None else f"; about {_duration(overview.seconds_left)} left"
    return f"{', '.join(parts)} of {counts.total()} runs in {results}{left}"


def _duration(seconds: float) -> str:
    """Return a time for people: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _trouble(overview: Overview, shown: int) -> list[str]:
    lines = []
    for entry in overview.trouble[:shown]:
        lines.append(f"{entry.kind}: {entry.label}: {entry.reason}")
        if entry.log is not None:
            lines.append(f"        log: {entry.log}")
    if len(overview.trouble) > shown:
        lines.append(f"... and {len(overview.trouble) - shown} more failed or lost")
    return lines
