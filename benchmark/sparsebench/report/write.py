"""Everything a report holds, written into one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common import files
from ..registry import load_tasks
from ..schema import RunError
from ..store import ensure_writable, tidy, write_curated
from . import tables
from .aggregate import Aggregate, aggregate
from .agreement import agreement_csv, agreement_rows, agreement_tables
from .comparison import comparison_csv, comparison_tables
from .figures.over_sparsity import figures_of
from .leaderboard import leaderboard_of, to_csv
from .overview import methods_csv, overviews
from .own_task import own_task_csv, own_task_rows, own_task_tables
from .speed import speed_csv, speed_tables

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Registry
    from ..store.classes import Reader

Part = Callable[[], Iterable[Path]]
"""Writes a part of a report, and gives each file as it is written."""


def write_report(
    frame: pd.DataFrame,
    out: Path,
    comparison: pd.DataFrame | None = None,
    wrote: Callable[[Path], None] | None = None,
    bench: pd.DataFrame | None = None,
    registry: Registry | None = None,
    columns: Sequence[str] = (),
    predictions: Reader | None = None,
    width: float | None = None,
    formats: Sequence[str] = ("png", "pdf"),
) -> list[Path]:
    """Write a report of a tidy results table and return its files.

    ``runs.csv`` (all runs), ``leaderboard.csv``, ``methods.csv`` (the summary by method), ``tables.md`` and
    ``tables.tex`` (summary, then a table by task a group), and the figures ``relative_error*`` (over sparsity),
    ``upstream*`` (over upstream accuracy), and the same by task: ``accuracy-*`` and ``upstream_by_task-*``. Beside each
    figure lies its caption, as text and as a LaTeX figure. Figures without anything to draw are left out. Where
    predictions were kept, ``agreement.csv`` and ``agreement.md`` say on how many images sparse checkpoints agree
    with their references. ``upstream.csv`` and ``upstream.md`` have the runs in mode ``upstream``, beside what was
    published.

    Parameters
    ----------
    frame : DataFrame
        A tidy results table.
    out : Path
        The folder to write to.
    comparison : DataFrame, optional
        What :func:`sparsebench.report.compare` gives: written as ``comparison.csv``, ``.md`` and ``.tex``.
    wrote : callable, optional
        Called with the path of each file when it is written.
    bench : DataFrame, optional
        What :func:`sparsebench.report.read_bench` gives: written as ``speed.csv`` beside the accuracy, and a table in
        ``tables.md`` and ``tables.tex``.
    registry : Registry, optional
        The tasks and suites; the built-in ones by default.
    columns : sequence of str
        Further columns of the leaderboard.
    predictions : callable, optional
        What :func:`sparsebench.store.classes.classes_reader` gives: with it intervals cover test images.
    width : float, optional
        Of a figure in one column, in inches; by default 3.5. Figures by task are twice as wide.
    formats : sequence of str
        What figures are drawn as: ``png``, ``pdf``, ``svg``.

    Raises
    ------
    ResultsError
        If nothing can be written to ``out``.
    RunError
        If a part failed; all other parts are written nevertheless.
    """
    ensure_writable(out)
    frame = tidy(frame)
    statistics = aggregate(frame, registry, predictions)
    written: list[Path] = []
    failures: dict[str, Exception] = {}
    agreement = ("the agreement with references", lambda: _agreement(frame, out, registry, predictions))
    parts = _parts(frame, statistics, out, bench, columns, width, formats)
    for name, part in [*parts, *_comparison(comparison, out), agreement, *_own_tasks(frame, out, registry)]:
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


def _parts(
    frame: pd.DataFrame,
    statistics: Aggregate,
    out: Path,
    bench: pd.DataFrame | None,
    columns: Sequence[str],
    width: float | None,
    formats: Sequence[str],
) -> Iterator[tuple[str, Part]]:
    """Yield each part's name and what writes it."""

    def runs() -> Iterator[Path]:
        write_curated(frame, out / "runs.csv")
        yield out / "runs.csv"

    def pictures() -> Iterator[Path]:
        for picture in figures_of(statistics, width):
            for name, data in picture.files(formats):
                files.write_bytes(out / name, data)
                yield out / name

    yield "runs.csv", runs
    yield _text(out / "leaderboard.csv", lambda: to_csv(leaderboard_of(statistics, columns)))
    yield _text(out / "methods.csv", lambda: methods_csv(statistics))
    yield _text(out / "tables.md", lambda: tables.markdown(all_tables(statistics, bench)))
    yield _text(out / "tables.tex", lambda: tables.latex(all_tables(statistics, bench)))
    if bench is not None:
        yield _text(out / "speed.csv", lambda: speed_csv(statistics, bench))
    yield "the figures", pictures


def _agreement(frame: pd.DataFrame, out: Path, registry: Registry | None, predictions: Reader | None) -> Iterator[Path]:
    """Write how sparse checkpoints agree with their references, where predictions were kept."""
    rows = agreement_rows(frame, predictions, registry)
    if rows:
        for name, text in (
            ("agreement.csv", agreement_csv(rows)),
            ("agreement.md", tables.markdown(agreement_tables(rows))),
        ):
            files.write_text(out / name, text)
            yield out / name


def _own_tasks(frame: pd.DataFrame, out: Path, registry: Registry | None) -> Iterator[tuple[str, Part]]:
    """Yield the parts on the checkpoints' own tasks, if any was run there."""
    registry = registry or load_tasks()
    rows = own_task_rows(frame, registry)
    if rows:
        yield _text(out / "upstream.csv", lambda: own_task_csv(rows))
        yield _text(out / "upstream.md", lambda: tables.markdown(own_task_tables(rows)))


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
