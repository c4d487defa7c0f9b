"""``sparsebench report``: tables, leaderboard and figures from results, and how they compare with published ones."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from .. import extensions
from ..registry import load_tasks
from ..registry.names import method_id
from ..registry.patterns import known_only
from ..report import bench_beside, compare, read_bench, read_doubts, render_comparison, write_report
from ..report.aggregate import aggregate
from ..report.further import Further
from ..report.leaderboard import leaderboard_of
from ..schema import InputError
from ..store import read_results
from ..store.classes import classes_reader
from ..store.frame import PUBLISHED


def main(arguments: argparse.Namespace) -> int:
    """Print the comparison, if one was asked for; write the report and print each file as it is written."""
    more = [extensions.resolve("columns", name) for name in arguments.column]
    for name in more:
        extensions.get("columns", name)
    table = selected(read_results(arguments.results), arguments)
    registry = load_tasks(arguments.tasks_dir)
    predictions = classes_reader(arguments.results)
    comparison = None
    if arguments.compare:
        comparison = compare(table, read_results(arguments.compare), read_doubts(arguments.compare))
        if not arguments.json:
            print(render_comparison(comparison, colour=sys.stdout.isatty()))
    beside = None if arguments.results == PUBLISHED else bench_beside(arguments.results)
    folder = arguments.bench or beside
    bench = None if folder is None else read_bench(folder)
    say = None if arguments.json else _print
    files = write_report(
        table,
        arguments.out,
        comparison,
        say,
        bench,
        registry,
        more,
        predictions,
        arguments.width,
        arguments.format,
        Further.of(arguments.results),
    )
    if arguments.json:
        board = leaderboard_of(aggregate(table, registry, predictions), more)
        document = {"leaderboard": _rows(board), "files": [str(path) for path in files]}
        if comparison is not None:
            document["comparison"] = _rows(comparison)
        print(json.dumps(document, indent=1, ensure_ascii=False))
    return 0


def selected(table: pd.DataFrame, arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the results that the selectors choose, and those of their references on the same tasks in the same modes.

    Raises
    ------
    InputError
        If a name or a sparsity isn't in the results, or nothing has all that is asked for.
    """
    keep = table["checkpoint"].notna()
    for name in ("task", "mode"):
        if getattr(arguments, name):
            keep &= table[name].isin(known_only(name, getattr(arguments, name), _there(table, name)))
    whole, chosen = keep, keep.copy()
    for name in ("checkpoint", "method", "arch", "variant"):
        asked = getattr(arguments, name)
        asked = [method_id(text) for text in asked] if name == "method" else asked
        if asked:
            chosen &= table[name].isin(known_only(name, asked, _there(table, name)))
    if arguments.sparsity:
        near = [(table["sparsity"] - sparsity).abs() < 1e-9 for sparsity in arguments.sparsity]
        for sparsity, rows in zip(arguments.sparsity, near, strict=True):
            if not rows.any():
                there = ", ".join(f"{s:g}" for s in sorted(set(table["sparsity"].dropna())))
                raise InputError(f"no result at sparsity {sparsity:g}", f"there are: {there}")
        chosen &= pd.concat(near, axis=1).any(axis=1)
    if not chosen.any():
        raise InputError("no result has all that is selected", "leave a selector out")
    references = set(table.loc[chosen, "reference"].dropna())
    return table[chosen | (whole & table["checkpoint"].isin(references))].reset_index(drop=True)


def _there(table: pd.DataFrame, column: str) -> list[str]:
    return sorted(set(table[column].dropna()) - {""})


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows for JSON: what is missing is null."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows


def _print(path: Path) -> None:
    print(path, flush=True)
