"""Write results/leaderboard.csv from the curated runs, or check that the committed one is what they give."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from common import CURATED, LEADERBOARD, run_script, shown
from sparsebench.report import leaderboard, write_leaderboard
from sparsebench.report.leaderboard import to_csv
from sparsebench.schema import ResultsError
from sparsebench.store import read_results
from sparsebench.store.classes import classes_reader


def difference(committed: str, now: str, name: str) -> str:
    """Return a unified diff from the committed leaderboard to the one that the runs give; empty if they are equal."""
    lines = difflib.unified_diff(
        committed.splitlines(keepends=True),
        now.splitlines(keepends=True),
        f"{name} (committed)",
        f"{name} (from the runs)",
    )
    return "".join(lines)


def check(runs: Path, file: Path) -> int:
    """Compare ``file`` with the leaderboard of ``runs``; print the differences and return 1 if there are any.

    Raises
    ------
    ResultsError
        If the runs or the leaderboard can't be read.
    """
    now = to_csv(leaderboard(read_results(runs), classes_reader(runs)))
    try:
        committed = file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"can't read {shown(file)!r}: {error}", "write it: scripts/leaderboard.py") from error
    if committed == now:
        print(f"{shown(file)} is what {shown(runs)} gives")
        return 0
    sys.stdout.write(difference(committed, now, shown(file)) or "only line endings differ\n")
    print(f"error: {shown(file)} is not what {shown(runs)} gives; run scripts/leaderboard.py", file=sys.stderr)
    return 1


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the leaderboard."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=Path, default=CURATED, metavar="FILE", help="a curated CSV or a results folder")
    parser.add_argument("--out", type=Path, default=LEADERBOARD, metavar="FILE", help="the leaderboard")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and show the diff if it differs")
    arguments = parser.parse_args(argv)
    if arguments.check:
        return check(arguments.runs, arguments.out)
    write_leaderboard(read_results(arguments.runs), arguments.out, classes_reader(arguments.runs))
    print(shown(arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
