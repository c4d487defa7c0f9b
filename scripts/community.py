"""Verify the bundles in results/community and write their leaderboard, or check that the committed one is right.

With ``--json FILE`` what was found is written for ``submission_comment.py``; with ``--only NAME`` a bundle is described
there, while all others are only merged. Nothing in a bundle is run unless ``--rerun N`` asks for it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import ROOT, run_script, shown
from sparsebench.exchange import BundleError, Means, Merged, Problem, Verified, merge_bundles, verify_bundle
from sparsebench.report.leaderboard import leaderboard, to_csv
from sparsebench.schema import InputError, ResultsError
from sparsebench.store import read_results
from sparsebench.store.classes import classes_reader

COMMUNITY = ROOT / "results" / "community"
LEADERBOARD = "leaderboard.csv"
_LINES = (
    "checkpoint",
    "mode",
    "probe",
    "protocol",
    "sparsity",
    "mean_accuracy",
    "relative_error",
    "n_tasks",
    "verdict",
)


def bundles_in(folder: Path) -> list[Path]:
    """Return the bundles of a folder, by name.

    Raises
    ------
    InputError
        If one is a link, or there is none.
    """
    found = sorted(folder.glob("*.zip"))
    for path in found:
        if path.is_symlink():
            raise InputError(f"{path.name} is a link", "put the file itself there")
    if not found:
        raise InputError(f"{shown(folder)!r} holds no bundle", "write one: sparsebench export-results")
    return found


def merged(bundles: Sequence[Path], means: Means) -> tuple[Merged, str, list[dict[str, Any]]]:
    """Return what merging bundles gives: conflicts, the leaderboard's text, and its lines for people."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "runs"
        done = merge_bundles(bundles, results, means)
        board = leaderboard(read_results(results), classes_reader(results))
    lines = json.loads(board[list(_LINES)].to_json(orient="records"))
    return done, to_csv(board), lines


def check(text: str, file: Path) -> int:
    """Compare the committed leaderboard with the text that the bundles give; 1 if they differ."""
    committed = file.read_text(encoding="utf-8") if file.exists() else ""
    if committed == text:
        print(f"{shown(file)} is what the bundles give")
        return 0
    print(f"error: {shown(file)} is not what the bundles give; run scripts/community.py", file=sys.stderr)
    return 1


def describe(folder: Path, only: Sequence[str], means: Means, file: Path) -> int:
    """Write what is known of new bundles as JSON; 2 if one is refused, 1 if there are conflicts."""
    found: list[Verified] = []
    document: dict[str, Any] = {"conflicts": [], "leaderboard": []}
    try:
        bundles = bundles_in(folder)
        found = [verify_bundle(path, means) for path in bundles if not only or path.name in only]
        if not any(one.problems for one in found):
            done, _, lines = merged(bundles, means)
            document["conflicts"] = [conflict.line for conflict in done.conflicts]
            names = {record.spec.checkpoint for one in found for record in one.records}
            document["leaderboard"] = [line for line in lines if line["checkpoint"] in names]
    except (InputError, ResultsError) as error:
        problem = error.problem if isinstance(error, BundleError) else Problem("file", shown(folder), error.message)
        found.append(Verified(shown(folder), problems=(problem,)))
    document["bundles"] = [one.document() for one in found]
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for problem in (problem for one in found for problem in one.problems):
        print(f"error: {problem.line}", file=sys.stderr)
    return 2 if any(one.problems for one in found) else 1 if document["conflicts"] else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Verify, then write, check or describe."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", type=Path, default=COMMUNITY, metavar="DIR", help="where the bundles are")
    parser.add_argument("--rerun", type=int, default=0, metavar="N", help="run N linear runs of each bundle again")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if the leaderboard differs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="describe the bundles here, and write nothing else")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="the bundles to describe")
    arguments = parser.parse_args(argv)
    means = Means(rerun=arguments.rerun)
    if arguments.json is not None:
        return describe(arguments.folder, arguments.only, means, arguments.json)
    done, text, _ = merged(bundles_in(arguments.folder), means)
    for conflict in done.conflicts:
        print(f"conflict: {conflict.line}", file=sys.stderr)
    file = arguments.folder / LEADERBOARD
    if arguments.check:
        return max(check(text, file), int(bool(done.conflicts)))
    file.write_text(text, encoding="utf-8")
    print(shown(file))
    return int(bool(done.conflicts))


if __name__ == "__main__":
    sys.exit(run_script(main))
