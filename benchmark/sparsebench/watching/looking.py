"""One look at a results folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ..logs import log_path
from ..schema import ResultsError
from .evidence import Evidence, gather
from .left import seconds_left
from .overview import Cell, Overview, State, Trouble
from .states import may_come, state_of, why_lost


def look_over(results: Path) -> Overview:
    """Find out how far the plans in a results folder are.

    Raises
    ------
    ResultsError
        If there is no such folder, or its records can't be read.
    """
    if not results.is_dir():
        raise ResultsError(f"there is no results folder {str(results)!r}", "name it with --results")
    known = gather(results)
    states = {run_id: state_of(run_id, known) for run_id in known.planned.keys() | known.rows.keys()}
    cells: dict[Cell, Counter[State]] = {}
    for run_id, state in states.items():
        cells.setdefault(known.cell(run_id), Counter())[state] += 1
    trouble = [_trouble(run_id, state, known) for run_id, state in states.items() if state in ("failed", "lost")]
    unsure = may_come(known)
    return Overview(
        cells={cell: cells[cell] for cell in sorted(cells)},
        trouble=tuple(sorted(trouble, key=lambda entry: (entry.state, entry.label))),
        seconds_left=seconds_left(known, states),
        notes=tuple(known.notes) if unsure else (),
        unsure=unsure,
    )


def _trouble(run_id: str, state: State, known: Evidence) -> Trouble:
    own, job, row = log_path(known.results, run_id), known.job_of.get(run_id), known.rows.get(run_id)
    log = own if own.is_file() else None if job is None else known.results / job.element.log
    if state == "lost":
        reason = why_lost(run_id, known)
    else:
        reason = row.error if row is not None else "its record has just come"
    label = " · ".join([*known.cell(run_id), f"seed {known.seed(run_id)}"])
    return Trouble(label, state, reason, log)
