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
from .agreement import Row, agreement_csv, agreement_tables
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
    page: Path | None = None,
    known: Known | None = None,
    further: Further | None = None,
) -> list[Path]:
    """Write a report of a tidy results table and return its files.

    ``runs.csv`` (all runs), ``leaderboard.csv``, ``methods.csv`` (the summary by method), ``tables.md`` and
    ``tables.tex`` (summary, then a table by task a group), and the figures ``relative_error*`` (over sparsity),
    ``upstream*`` (over upstream accuracy), and the same by task: ``accuracy-*`` and ``upstream_by_task-*``;
    ``critical_difference-*`` (mean ranks) and ``win_rates-*``, the latter with ``win_rates.csv`` and ``.md``; where
    predictions were kept, ``variance*`` (by source, with ``variance.csv`` and ``.md``), and where an entry has several
    upstream trainings, ``upstream_trainings*`` (what more of them would show). Beside each
    figure lies its caption, as text and as a LaTeX figure. Figures without anything to draw are left out. Where
    predictions were kept, ``agreement.csv`` and ``agreement.md`` say on how many images sparse checkpoints agree
    with their references and dense twins. Where runs were scored on further test sets, ``shift.csv``,
    ``corruptions.csv``, ``shift.md`` and the figures ``severity*`` say how well; few-shot accuracies are in
    ``fewshot.csv``, ``fewshot.md`` and the figures ``shots*``.
    ``upstream.csv`` and ``upstream.md`` have the runs in mode ``upstream``, beside what was published.

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
    page : Path, optional
        The file that gets everything as one HTML page; without it there is none.
    known : Known, optional
        What the page says besides.
    further : Further, optional
        What runs scored on further test sets.

    Raises
    ------
    ResultsError
        If nothing can be written to ``out``.
    RunError
        If a part failed; all other parts are written nevertheless.
    """
    ensure_writable(out)
    frame = tidy(frame)
    registry = load_tasks() if registry is None else registry
    statistics = aggregate(frame, registry, predictions)
    sources = Sources(frame, statistics, registry, predictions, bench, known or Known())
    written: list[Path] = []
    failures: dict[str, Exception] = {}
    agreement = ("the agreement with references", lambda: _agreement(sources.agreement, out))
    shift = ("the further test sets", lambda: write_shift(frame, out, further, registry, width, formats))
    shots = ("few images per class", lambda: write_shots(frame, out, width, formats))
    parts = [*_parts(frame, statistics, out, bench, columns, width, formats), *_comparison(comparison, out)]
    parts += [agreement, shift, shots, *_own_tasks(frame, registry, out)]
    if page is not None:
        parts.append(_page(sources, page))
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
    yield "win rates", lambda: _csv_and_tables(out / "win_rates", statistics, win_rates_csv, win_rate_tables)
    yield "variances", lambda: _csv_and_tables(out / "variance", statistics, variance_csv, variance_tables)
    if bench is not None:
        yield _text(out / "speed.csv", lambda: speed_csv(statistics, bench))
    yield "the figures", pictures


def _csv_and_tables(
    stem: Path,
    statistics: Aggregate,
    csv: Callable[[Aggregate], str],
    make: Callable[[Aggregate], list[tables.Table]],
) -> Iterator[Path]:
    """Write a CSV file and its tables as Markdown, if there is any table."""
    found = make(statistics)
    if found:
        for path, text in (
            (stem.with_suffix(".csv"), csv(statistics)),
            (stem.with_suffix(".md"), tables.markdown(found)),
        ):
            files.write_text(path, text)
            yield path


def _agreement(rows: Sequence[Row], out: Path) -> Iterator[Path]:
    """Write how sparse checkpoints agree with their references, where predictions were kept."""
    if rows:
        for name, text in (
            ("agreement.csv", agreement_csv(rows)),
            ("agreement.md", tables.markdown(agreement_tables(rows))),
        ):
            files.write_text(out / name, text)
            yield out / name


def _own_tasks(frame: pd.DataFrame, registry: Registry, out: Path) -> Iterator[tuple[str, Part]]:
    """Yield the parts on the checkpoints' own tasks, if any was run there."""
    rows = own_task_rows(frame, registry)
    if rows:
        yield _text(out / "upstream.csv", lambda: own_task_csv(rows))
        yield _text(out / "upstream.md", lambda: tables.markdown(own_task_tables(rows)))


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
