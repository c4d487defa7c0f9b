"""What the scripts share: where the repository is, and errors for people."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from sparsebench import SparsebenchError

ROOT = Path(__file__).resolve().parent.parent
CURATED = ROOT / "results" / "mini" / "runs.csv"
LEADERBOARD = ROOT / "results" / "leaderboard.csv"
PUBLISHED = ROOT / "results" / "published" / "runs.csv"


def run_script(main: Callable[[], int]) -> int:
    """Return the exit status of ``main``; an error of sparsebench becomes one line and its own status."""
    try:
        return main()
    except SparsebenchError as error:
        print(f"error: {error.message}" + (f"; {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code


def shown(path: Path) -> str:
    """Return a path as people read it: relative to the repository where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
