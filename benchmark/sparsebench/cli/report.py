"""``sparsebench report``: tables, leaderboard and figures from results, and how they compare with published ones."""

from __future__ import annotations

import argparse
import json
import sys
import webbrowser
from pathlib import Path
from typing import Any

import pandas as pd

from .. import extensions
from ..common.paths import cache_dir
from ..registry import Registry, load_registry, load_tasks
from ..registry.names import method_id
from ..registry.patterns import known_only
from ..report import Report, bench_beside, compare, read_bench, read_doubts, render_comparison, write_report
from ..report.aggregate import aggregate
from ..report.further import Further
from ..report.leaderboard import leaderboard_of
from ..report.own_task import read_own_tasks
from ..report.page import Known, Layer, Network
from ..schema import InputError
from ..store import Store, read_results
from ..store.classes import classes_reader
from ..store.frame import PUBLISHED

PAGE = "report.html"


def main(arguments: argparse.Namespace) -> int:
    """Print the comparison, if one was asked for; write the report and print each file as it is written."""
    page = page_file(arguments)
    more = [extensions.resolve("columns", name) for name in arguments.column]
    for name in more:
        extensions.get("columns", name)
    table = selected(read_results(arguments.results), arguments)
    more_files = (arguments.registry, arguments.tasks_dir)
    registry = load_tasks(arguments.tasks_dir) if page is None else load_registry(*more_files)
    predictions = classes_reader(arguments.results)
    comparison = None
    if arguments.compare:
        comparison = compare(table, read_results(arguments.compare), read_doubts(arguments.compare))
        if not arguments.json:
            print(render_comparison(comparison, colour=sys.stdout.isatty()))
    beside = None if arguments.results == PUBLISHED else bench_beside(arguments.results)
    folder = arguments.bench or beside
    bench = None if folder is None else read_bench(folder)
    report = Report(
        table,
        registry,
        predictions,
        Further.of(arguments.results),
        comparison,
        bench,
        more,
        arguments.width,
        arguments.format,
        page,
        Known() if page is None else known(table, registry, arguments),
    )
    files = write_report(report, arguments.out, None if arguments.json else _print)
    if arguments.json:
        board = leaderboard_of(aggregate(table, registry, predictions), more)
        document = {"leaderboard": _rows(board), "files": [str(path) for path in files]}
        if comparison is not None:
            document["comparison"] = _rows(comparison)
        print(json.dumps(document, indent=1, ensure_ascii=False))
    if arguments.open and page is not None:
        show(page)
    return 0


def page_file(arguments: argparse.Namespace) -> Path | None:
    """Return the file of the page, if one is asked for.

    Raises
    ------
    InputError
        If it is a folder.
    """
    if arguments.html is None and not arguments.open:
        return None
    page: Path = arguments.html if arguments.html not in (None, Path()) else arguments.out / PAGE
    if page.is_dir():
        raise InputError(f"--html: {str(page)!r} is a folder", f"name a file in it, such as {str(page / PAGE)!r}")
    return page


def known(table: pd.DataFrame, registry: Registry, arguments: argparse.Namespace) -> Known:
    """Return what the page says besides results."""
    from .seen import seen

    own, agreement = read_own_tasks(arguments.results)
    wanted = set(table["checkpoint"])
    return Known(
        networks(),
        environments(arguments.results),
        dict(seen(table, registry, arguments.data)),
        [row for row in own if row.checkpoint in wanted],
        agreement,
    )


def networks() -> dict[tuple[str, str], Network]:
    """Return layers and sizes of the networks that this machine has seen, by the hashes of their contents."""
    from ..models.facts import facts_by_content

    return {
        key: Network(tuple(Layer(one.name, one.weights, one.held) for one in facts.layers), facts.packed_bytes)
        for key, facts in facts_by_content(cache_dir()).items()
    }


def environments(results: Path | str) -> dict[str, dict[str, str]]:
    """Return the versions and processor of each run, by record key, where records have them."""
    folder = Path(results)
    if results == PUBLISHED or not (folder / "records").is_dir():
        return {}
    return {record.record_key: record.environment for record in Store(folder).read()}


def show(page: Path) -> None:
    """Open a page in the browser; where there is none, say so."""
    if not webbrowser.open(page.resolve().as_uri()):
        print(f"no browser was found; open {page} in one", file=sys.stderr)


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
