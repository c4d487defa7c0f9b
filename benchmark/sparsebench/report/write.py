"""Everything a report holds, written into one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..schema import RunError
from ..store import ensure_writable, tidy, write_curated
from . import tables
from .aggregate import Aggregate, aggregate
from .figures import figures_of
from .leaderboard import leaderboard_of, to_csv

if TYPE_CHECKING:
    import pandas as pd

Part = Callable[[], list[Path]]


def write_report(frame: pd.DataFrame, out: Path) -> list[Path]:
    """Write a report of a tidy results table and return its files.

    ``runs.csv`` (all runs), ``leaderboard.csv``, ``tables.md``, ``tables.tex``, ``relative_error*.png`` and ``.pdf``
    (the main figure), ``accuracy-*.png`` and ``.pdf`` (by task). Figures without anything to draw are left out.

    Raises
    ------
    ResultsError
        If nothing can be written to ``out``.
    RunError
        If a part failed; all other parts are written nevertheless.
    """
    ensure_writable(out)
    frame = tidy(frame)
    statistics = aggregate(frame)
    written: list[Path] = []
    failures: dict[str, Exception] = {}
    for name, part in _parts(frame, statistics, out):
        try:
            written += part()
        except Exception as error:  # collected, and raised below once the other parts are safe
            failures[name] = error
    if failures:
        reasons = "; ".join(f"{name} ({error})" for name, error in failures.items())
        saved = ", ".join(path.name for path in written) or "nothing"
        raise RunError(f"the report lacks {reasons}", f"written to {str(out)!r}: {saved}") from next(
            iter(failures.values())
        )
    return written


def _parts(frame: pd.DataFrame, statistics: Aggregate, out: Path) -> Iterator[tuple[str, Part]]:
    """Yield each part's name and what writes it."""

    def text(name: str, make: Callable[[], str]) -> Part:
        def write() -> list[Path]:
            files.write_text(out / name, make())
            return [out / name]

        return write

    def runs() -> list[Path]:
        write_curated(frame, out / "runs.csv")
        return [out / "runs.csv"]

    def pictures() -> list[Path]:
        written = []
        for picture in figures_of(statistics):
            for suffix, data in (("png", picture.png), ("pdf", picture.pdf)):
                path = out / f"{picture.name}.{suffix}"
                files.write_bytes(path, data)
                written.append(path)
        return written

    yield "runs.csv", runs
    yield "leaderboard.csv", text("leaderboard.csv", lambda: to_csv(leaderboard_of(statistics)))
    yield "tables.md", text("tables.md", lambda: tables.markdown(tables.build_tables(statistics)))
    yield "tables.tex", text("tables.tex", lambda: tables.latex(tables.build_tables(statistics)))
    yield "the figures", pictures
