"""Render what ``community.py --json`` found about submitted bundles as one Markdown comment.

The file comes from a job that a stranger's pull request may have changed, so nothing in it is trusted: it is read
within limits, every text is escaped and cut, and only what is listed here is shown. The standard library is enough.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MARK = "<!-- sparsebench: verification of bundles -->"
_LARGEST = 2**20
_TEXT, _ITEMS = 120, 20
_LONGEST = 60_000
"""Characters of a comment: a longer one than 65,536 would not be taken."""
_SPECIAL = set("\\`*_{}[]()<>#+-.!|~@&:/")
_COLUMNS = ("checkpoint", "mode", "probe", "sparsity", "mean_accuracy", "relative_error", "n_tasks", "verdict")


def plain(value: Any) -> str:
    """Return a value as text that Markdown shows as it is: no links, mentions or HTML, on one line, cut where long."""
    if isinstance(value, float):
        value = f"{value:.4f}"
    text = "".join(c if c.isprintable() else " " for c in str(value if value is not None else ""))
    text = text if len(text) <= _TEXT else f"{text[: _TEXT - 3]}..."
    return "".join(f"&#{ord(c)};" if c in _SPECIAL else c for c in text)


def items(value: Any) -> list[Any]:
    """Return the first items of a list; nothing of what is none."""
    return value[:_ITEMS] if isinstance(value, list) else []


def render(document: Any, others: int = 0) -> str:
    """Return the comment."""
    document = document if isinstance(document, dict) else {}
    lines = [MARK, "## Verification of bundles", ""]
    for bundle in items(document.get("bundles")):
        if isinstance(bundle, dict):
            lines += _bundle(bundle)
    conflicts = items(document.get("conflicts"))
    if conflicts:
        lines += ["**Conflicts with what is there:**", "", *(f"- {plain(text)}" for text in conflicts), ""]
    lines += _table([line for line in items(document.get("leaderboard")) if isinstance(line, dict)])
    if others:
        lines += [f"This pull request also changes {others} other file(s): look at these first.", ""]
    end = "The job that found this belongs to the pull request: run `sparsebench verify` yourself before merging."
    text = "\n".join(lines)
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rpartition("\n")[0] + "\n\nThere is more, which is too long to be shown.\n"
    return f"{text}\n{end}\n"


def _bundle(bundle: dict[str, Any]) -> list[str]:
    runs = bundle.get("runs")
    counts = (
        ", ".join(f"{plain(count)} {plain(status)}" for status, count in runs.items()) if isinstance(runs, dict) else ""
    )
    lines = [
        f"**{plain(bundle.get('bundle'))}**: {plain(bundle.get('verdict'))}" + (f" ({counts})" if counts else ""),
        "",
    ]
    for problem in items(bundle.get("problems")):
        if isinstance(problem, dict):
            what = ": ".join(plain(problem.get(name)) for name in ("where", "message"))
            lines.append(f"- refused, {plain(problem.get('check'))}: {what}")
    lines += [f"- note: {plain(note)}" for note in items(bundle.get("notes"))]
    return [*lines, ""]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    head = [f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
    return [*head, *(f"| {' | '.join(plain(row.get(name)) for name in _COLUMNS)} |" for row in rows), ""]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comment."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("file", type=Path, help="what community.py --json wrote")
    parser.add_argument("--others", type=int, default=0, help="how many other files the pull request changes")
    arguments = parser.parse_args(argv)
    document: Any = None
    if arguments.file.is_file() and not arguments.file.is_symlink() and arguments.file.stat().st_size <= _LARGEST:
        try:
            document = json.loads(arguments.file.read_bytes())
        except (ValueError, RecursionError):
            document = None
    if document is None:
        document = {"bundles": [{"bundle": "the verification", "verdict": "left nothing that can be read"}]}
    sys.stdout.write(render(document, arguments.others))
    return 0


if __name__ == "__main__":
    sys.exit(main())
