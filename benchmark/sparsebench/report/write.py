"""Everything a report holds, written into one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..common import files
from ..registry import load_tasks
from ..schema import RunError
from ..store import ensure_writable, tidy, write_curated
from . import tables
from .aggregate import Aggregate, aggregate
from .agreement import agreement_csv, agreement_tables
from .comparison import comparison_csv, comparison_tables
from .figures.over_sparsity import figures_of
from .further import Further, write_shift, write_shots
from .leaderboard import leaderboard_of, to_csv
from .overview import methods_csv, overviews
from .own_task import own_task_csv, own_task_rows, own_task_tables
from .page import Known, Sources
from .speed import speed_csv, speed_tables
from .variance import variance_csv, variance_tables
from .win_rates import win_rate_tables, win_rates_csv

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Registry
    from ..store.classes import Reader

Part = Callable[[], Iterable[Path]]
"""Writes a part of a report, and gives each file as it is written."""


@dataclass(frozen=True, eq=False)
class Report:
    """What a report is of, and how it is drawn.

    Parameters
    ----------
    frame : DataFrame
        A tidy results table.
    registry : Registry
        The tasks and suites; the built-in ones by default.
    predictions : callable, optional
        What :func:`sparsebench.store.classes.classes_reader` gives: with it intervals cover test images.
    further : Further, optional
        What runs scored on further test sets.
    comparison : DataFrame, optional
        What :func:`sparsebench.report.compare` gives.
    bench : DataFrame, optional
        What :func:`sparsebench.report.read_bench` gives: the measured speed, shown beside the accuracy.
    columns : sequence of str
        Further columns of the leaderboard.
    width : float, optional
        Of a figure in one column, in inches; by default 3.5. Figures by task are twice as wide.
    formats : sequence of str
        What figures are drawn as: ``png``, ``pdf``, ``svg``.
    page : Path, optional
        The file that gets everything as one HTML page; without it there is none.
    known : Known
        What the page says besides results.
    """

    frame: pd.DataFrame
    registry: Registry = field(default_factory=load_tasks)
    predictions: Reader | None = None
    further: Further | None = None
    comparison: pd.DataFrame | None = None
    bench: pd.DataFrame | None = None
    columns: Sequence[str] = ()
    width: float | None = None
    formats: Sequence[str] = ("png", "pdf")
    page: Path | None = None
    known: Known = field(default_factory=Known)


def write_report(report: Report, out: Path, wrote: Callable[[Path], None] | None = None) -> list[Path]:
    """Write all parts of a report, each whole or not at all, and return their paths.

    ``runs.csv`` (all runs), ``leaderboard.csv``, ``methods.csv`` (the summary by method), ``tables.md`` and
    ``tables.tex`` (summary, then a table by task a group), and the figures ``relative_error*`` (over sparsity),
    ``upstream*`` (over upstream accuracy), and the same by task: ``accuracy-*`` and ``upstream_by_task-*``;
    ``critical_difference-*`` (mean ranks) and ``win_rates-*``, the latter with ``win_rates.csv`` and ``.md``. Beside
    each figure lies its caption, as text and as a LaTeX figure. With what it is made of come ``comparison.*``,
    ``speed.csv``, ``upstream.*`` (mode ``upstream``), ``fewshot.*`` with ``shots*``; ``shift.*``, ``corruptions.csv``
    and ``severity*`` (further test sets); and, where predictions were kept, ``agreement.*``, ``variance*`` and
    ``upstream_trainings*``. What there is nothing for is left out.

    Parameters
    ----------
    report : Report
        What it is of.
    out : Path
        The folder to write to.
    wrote : callable, optional
        Called with the path of each file when it is written.

    Raises
    ------
    ResultsError
        If nothing can be written to ``out``.
    RunError
        If a part failed; all other parts are written nevertheless.
    """
    ensure_writable(out)
    frame, registry = tidy(report.frame), report.registry
    statistics = aggregate(frame, registry, report.predictions)
    sources = Sources(frame, statistics, registry, report.predictions, report.bench, report.known)
    written: list[Path] = []
    failures: dict[str, Exception] = {}
    drawn = report.width, report.formats
    parts = [
        *_parts(frame, statistics, out, report),
        *_comparison(report.comparison, out),
        ("the agreement with references", lambda: _agreement(sources, out)),
        ("the further test sets", lambda: write_shift(frame, out, report.further, registry, *drawn)),
        ("few images per class", lambda: write_shots(frame, out, *drawn)),
        ("the checkpoints' own tasks", lambda: _own_tasks(frame, registry, out)),
    ]
    if report.page is not None:
        parts.append(_page(sources, report.page))
    for name, part in parts:
        try:
            for path in part():
                written.append(path)
                if wrote is not None:
                    wrote(path)
        except Exception as error:  # collected, and raised below once the other parts are safe
            failures[name] = error
    if failures:
        reasons = "; ".join(f"{name} ({error})" for name, error in failures.items())
        saved = ", ".join(path.name for path in written) or "nothing"
        raise RunError(f"the report lacks {reasons}", f"written to {str(out)!r}: {saved}") from next(
            iter(failures.values())
        )
    return written


def all_tables(statistics: Aggregate, bench: pd.DataFrame | None = None) -> list[tables.Table]:
    """Return the tables of a report: the summary by method, a table by task a group, and the measured speed."""
    speed = [] if bench is None else speed_tables(statistics, bench)
    return overviews(statistics) + tables.build_tables(statistics) + speed


def _parts(frame: pd.DataFrame, statistics: Aggregate, out: Path, report: Report) -> Iterator[tuple[str, Part]]:
    """Yield each part's name and what writes it."""

    def runs() -> Iterator[Path]:
        write_curated(frame, out / "runs.csv")
        yield out / "runs.csv"

    def pictures() -> Iterator[Path]:
        for picture in figures_of(statistics, report.width):
            for name, data in picture.files(report.formats):
                files.write_bytes(out / name, data)
                yield out / name

    yield "runs.csv", runs
    yield _text(out / "leaderboard.csv", lambda: to_csv(leaderboard_of(statistics, report.columns)))
    yield _text(out / "methods.csv", lambda: methods_csv(statistics))
    yield _text(out / "tables.md", lambda: tables.markdown(all_tables(statistics, report.bench)))
    yield _text(out / "tables.tex", lambda: tables.latex(all_tables(statistics, report.bench)))
    for stem, make, csv in (
        ("win_rates", win_rate_tables, win_rates_csv),
        ("variance", variance_tables, variance_csv),
    ):
        yield stem, partial(_rated, out / stem, statistics, make, csv)
    if (bench := report.bench) is not None:
        yield _text(out / "speed.csv", lambda: speed_csv(statistics, bench))
    yield "the figures", pictures


def _with_tables(stem: Path, made: list[tables.Table], csv: Callable[[], str]) -> Iterator[Path]:
    """Write a CSV file, and tables beside it as Markdown, if there is any table."""
    if made:
        for suffix, text in ((".csv", csv()), (".md", tables.markdown(made))):
            path = stem.with_suffix(suffix)
            files.write_text(path, text)
            yield path


def _rated(
    stem: Path,
    statistics: Aggregate,
    make: Callable[[Aggregate], list[tables.Table]],
    csv: Callable[[Aggregate], str],
) -> Iterator[Path]:
    return _with_tables(stem, make(statistics), lambda: csv(statistics))


def _agreement(sources: Sources, out: Path) -> Iterator[Path]:
    """Write how sparse checkpoints agree with their references and twins, where predictions were kept."""
    rows = sources.all_agreement
    return _with_tables(out / "agreement", agreement_tables(rows), lambda: agreement_csv(rows))


def _own_tasks(frame: pd.DataFrame, registry: Registry, out: Path) -> Iterator[Path]:
    """Write what was run on the checkpoints' own tasks."""
    rows = own_task_rows(frame, registry)
    return _with_tables(out / "upstream", own_task_tables(rows), lambda: own_task_csv(rows))


def _page(sources: Sources, path: Path) -> tuple[str, Part]:
    """Return the name of the page, and what writes it."""
    from .page import page_html

    ensure_writable(path.parent)
    return _text(path, lambda: page_html(sources))


def _comparison(table: pd.DataFrame | None, out: Path) -> Iterator[tuple[str, Part]]:
    """Yield the parts of a comparison, if there is one."""
    if table is not None:
        yield _text(out / "comparison.csv", lambda: comparison_csv(table))
        yield _text(out / "comparison.md", lambda: tables.markdown(comparison_tables(table)))
        yield _text(out / "comparison.tex", lambda: tables.latex(comparison_tables(table)))


def _text(path: Path, make: Callable[[], str]) -> tuple[str, Part]:
    """Return the name of a text file, and what writes it."""

    def write() -> Iterator[Path]:
        files.write_text(path, make())
        yield path

    return path.name, write
