"""``sparsebench status``: what is done, running, queued, failed and missing in a results folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..registry.patterns import known_only
from ..schema import InputError
from .status_lines import display

if TYPE_CHECKING:
    from ..runs.status import Overview
    from ..runs.status.counting import Cell


def main(arguments: argparse.Namespace) -> int:
    """Show how far the plans of a results folder are; 1 if a run has failed or was lost."""
    from ..runs.status import look_over
    from .watch import watch

    if arguments.watch:
        if arguments.json:
            raise InputError("--json prints one look, --watch many", "leave one of them out")
        overview = watch(arguments.results, arguments.interval, _wanted(arguments, look_over))
    else:
        overview = look_over(arguments.results, _wanted(arguments, look_over))
        print(_json(overview) if arguments.json else "\n".join(display(overview, arguments.results)))
    return 1 if overview.trouble else 0


def _wanted(arguments: argparse.Namespace, look: Callable[[Path], Overview]) -> Callable[[Cell], bool] | None:
    """Return whether a cell is selected; None where no selector is given."""
    if not (arguments.checkpoint or arguments.task or arguments.mode):
        return None
    cells = list(look(arguments.results).cells)
    kinds = ("checkpoint", "task", "mode")
    chosen = [
        known_only(kind, getattr(arguments, kind), sorted({cell[i] for cell in cells})) for i, kind in enumerate(kinds)
    ]
    return lambda cell: all(name in names for name, names in zip(cell, chosen, strict=True))


def _json(overview: Overview) -> str:
    """Return what is shown as JSON: counts by state, of all and of each cell, and what went wrong."""
    cells = [
        {"checkpoint": checkpoint, "task": task, "mode": mode, **counts}
        for (checkpoint, task, mode), counts in overview.cells.items()
    ]
    trouble = [
        {"kind": t.kind, "label": t.label, "reason": t.reason, "log": None if t.log is None else str(t.log)}
        for t in overview.trouble
    ]
    document = {
        "runs": overview.counts.total(),
        **{state: overview.counts[state] for state in ("done", "running", "queued", "failed", "missing")},
        "seconds_left": overview.seconds_left,
        "cells": cells,
        "trouble": trouble,
        "notes": list(overview.notes),
    }
    return json.dumps(document, indent=1, ensure_ascii=False)
