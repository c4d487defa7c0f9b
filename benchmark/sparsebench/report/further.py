"""The parts of a report on further test sets and on few images per class, written into a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..common import files
from ..store.further import Kept, further_frame, further_reader
from . import tables
from .fewshot import fewshot_csv, fewshot_rows, fewshot_tables
from .figures.curves import severity_figures, shots_figures
from .shift import lines_csv, shift_cells, shift_csv, shift_lines, shift_tables
from .shift_intervals import Scored

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Registry
    from .figures.canvas import Picture


@dataclass(frozen=True)
class Further:
    """What runs scored and predicted on further test sets: see :mod:`sparsebench.store.further`."""

    table: pd.DataFrame
    kept: Kept | None = None

    @classmethod
    def of(cls, results: Path | str) -> Further:
        """Read it from a results folder; anything else has none."""
        return cls(further_frame(results), further_reader(results))


def write_shift(
    frame: pd.DataFrame,
    out: Path,
    further: Further | None,
    registry: Registry | None = None,
    width: float | None = None,
    formats: Sequence[str] = ("png", "pdf"),
) -> Iterator[Path]:
    """Write ``shift.csv``, ``corruptions.csv``, ``shift.md`` and figures, where runs were scored on further test sets.

    Parameters
    ----------
    frame : DataFrame
        A tidy results table: which runs count.
    out : Path
        The folder.
    further : Further, optional
        What the runs scored.
    registry : Registry, optional
        The tasks, which declare what images come from one source; the built-in ones by default.
    width : float, optional
        Of a figure in one column, in inches.
    formats : sequence of str
        What figures are drawn as.

    Yields
    ------
    Path
        Each file once it is written.
    """
    cells = [] if further is None else shift_cells(frame, further.table)
    if further is not None and cells:
        lines = shift_lines(cells, further.kept, registry)
        texts = {"shift.csv": shift_csv(cells), "shift.md": tables.markdown(shift_tables(lines))}
        if any(line.severities for line in lines):
            texts["corruptions.csv"] = lines_csv(lines)
        pictures = severity_figures(cells, Scored(further.kept).clean_ece, width)
        yield from _written(out, texts, pictures, formats)


def write_shots(
    frame: pd.DataFrame, out: Path, width: float | None = None, formats: Sequence[str] = ("png", "pdf")
) -> Iterator[Path]:
    """Write ``fewshot.csv``, ``fewshot.md`` and figures over images per class, where few-shot runs are in the table."""
    if rows := fewshot_rows(frame):
        texts = {"fewshot.csv": fewshot_csv(rows), "fewshot.md": tables.markdown(fewshot_tables(rows))}
        yield from _written(out, texts, shots_figures(rows, width), formats)


def _written(
    out: Path, texts: Mapping[str, str], pictures: Iterable[Picture], formats: Sequence[str]
) -> Iterator[Path]:
    for name, text in texts.items():
        files.write_text(out / name, text)
        yield out / name
    for picture in pictures:
        for name, data in picture.files(formats):
            files.write_bytes(out / name, data)
            yield out / name
