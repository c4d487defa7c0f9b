"""The section of a report on further test sets: errors under shift, and against the dense reference.

A corruption's error relative to the reference is the sum of errors over severities divided by the reference's (the
corruption error of Hendrycks and Dietterich, 2019, with the dense reference in AlexNet's place); ``relative_mce`` is
the same of what errors are above the errors on clean images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import extensions
from ..analysis.metrics import Sample, mean
from .cells import text_of
from .shift_intervals import Scored, Spread, spread_of
from .style import percent
from .tables import NOTHING, Field, Table
from .ways import WAY, Labels, Way, grouped, labels_of, way_title

if TYPE_CHECKING:
    import pandas as pd

    from ..registry import Registry
    from ..store.further import Kept

CSV_COLUMNS = (
    *WAY, "checkpoint", "method", "sparsity", "reference", "task", "test", "corruption", "family", "severity", "runs",
    "images", "accuracy", "sd", "clean_accuracy", "ece", "nll", "reference_accuracy", "error_ratio",
)  # fmt: skip
_NUMBERS = ("error", "mce", "mce_low", "mce_high", "relative_mce", "other_tests", "ece", "clean_ece")
LINE_COLUMNS = (*WAY, "checkpoint", "method", "sparsity", "reference", "severities", "scope", *_NUMBERS)
_NOTES = (
    "Error: mean over tasks, corruptions and the severities named. mCE: mean over tasks and corruptions of the error"
    " as a share of the reference's, both summed over the severities of both; 100 is as good as dense."
    " Rows of the same severities are together; compare no others.",
    "Relative mCE: the same of what errors are above those on clean images. It is large, or unknown, where the"
    " reference hardly gets worse.",
    "Other tests: mean of the error on the tasks' own further test sets as a share of the reference's. ECE: expected"
    " calibration error, 15 bins, on corrupted images and on clean ones.",
)


@dataclass(frozen=True)
class Cell(Labels):
    """A checkpoint on one further test set of a task: means over its runs."""

    task: str
    test: str
    fingerprint: str
    corruption: str
    family: str
    severity: int
    accuracy: Sample
    clean: float
    ece: float
    nll: float
    images: int
    keys: tuple[tuple[str, int], ...] = field(repr=False)
    """Record key and seed of each run, with its accuracy in ``by_run``."""
    by_run: tuple[float, ...] = field(repr=False)
    metric: str = "top1"

    @property
    def error(self) -> float:
        """One minus the accuracy."""
        return 1.0 - self.accuracy.mean


@dataclass(frozen=True)
class Line(Labels):
    """A checkpoint under corruption: errors by family, and against its reference; NaN where that isn't known."""

    families: Mapping[str, float]
    error: float
    mce: float
    spread: Spread
    relative_mce: float
    others: float
    ece: float
    clean_ece: float
    tasks: int
    severities: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()
    """Task and corruption of which the reference makes no error, or doesn't get worse."""


def shift_cells(frame: pd.DataFrame, further: pd.DataFrame) -> list[Cell]:
    """Return each checkpoint's means on each further test set.

    Parameters
    ----------
    frame : DataFrame
        A tidy results table: which runs count.
    further : DataFrame
        What :func:`sparsebench.store.further.further_frame` gives.
    """
    own = further[further["record_key"].isin(set(frame["record_key"].dropna()))]
    if own.empty:
        return []
    known = extensions.known("corruptions")
    cells = []
    sets = ["test", "fingerprint"]
    for labels, (task, test, fingerprint), rows in grouped(own, once=sets, by=["task", *sets]):
        first = rows.iloc[0]
        corruption = text_of(first["corruption"])
        cells.append(
            Cell(
                **labels,
                task=task,
                test=test,
                fingerprint=fingerprint,
                corruption=corruption,
                family=known[corruption].family if corruption in known else "",
                severity=0 if not corruption else int(first["severity"]),
                accuracy=Sample.of(rows["accuracy"]),
                clean=mean(rows["clean_accuracy"]),
                ece=mean(rows["ece"].dropna()),
                nll=mean(rows["nll"].dropna()),
                images=int(first["n_test"]),
                keys=tuple(zip(rows["record_key"], rows["seed"].astype(int), strict=True)),
                by_run=tuple(rows["accuracy"].astype(float)),
                metric=str(first["metric"]),
            )
        )
    return cells


def shift_lines(cells: Sequence[Cell], kept: Kept | None = None, registry: Registry | None = None) -> list[Line]:
    """Return each checkpoint under all corruptions that it and its reference were scored on, the best first.

    Parameters
    ----------
    cells : sequence of Cell
        What :func:`shift_cells` gives.
    kept : callable, optional
        What :func:`sparsebench.store.further.further_reader` gives: with it intervals cover test images.
    registry : Registry, optional
        The tasks, which declare what images come from one source.
    """
    lines = []
    scored = Scored(kept, registry)
    for way in _ways(cells):
        own: dict[str, dict[tuple[str, str, str], Cell]] = {}
        for cell in cells:
            if cell.way == way:
                own.setdefault(cell.checkpoint, {})[cell.task, cell.test, cell.fingerprint] = cell
        lines += [_line(found, own, scored) for found in own.values()]
    return sorted(lines, key=_best_first)


def _ways(rows: Iterable[Cell | Line]) -> list[Way]:
    return list(dict.fromkeys(row.way for row in rows))


def _best_first(line: Line) -> tuple[Any, ...]:
    """Return what orders the rows: those of the same severities together, as only they can be compared."""
    mce = math.inf if math.isnan(line.mce) else line.mce
    return line.way, -len(line.severities), line.severities, mce, line.checkpoint


def _line(
    found: Mapping[tuple[str, str, str], Cell],
    entries: Mapping[str, Mapping[tuple[str, str, str], Cell]],
    scored: Scored,
) -> Line:
    first = next(iter(found.values()))
    name, reference = first.checkpoint, first.compared_with
    theirs = entries.get(reference, {})
    corrupted = [cell for cell in found.values() if cell.corruption]
    pairs: dict[tuple[str, str], list[tuple[Cell, Cell]]] = {}
    for key, cell in found.items():
        if cell.corruption and key in theirs:
            pairs.setdefault((cell.task, cell.corruption), []).append((cell, theirs[key]))
    ratios, relative, left_out, used = [], [], [], []
    for (task, corruption), both in pairs.items():
        against = math.fsum(b.error for _, b in both)
        above = math.fsum(b.error - (1 - b.clean) for _, b in both)
        if against > 0:
            ratios.append((task, math.fsum(a.error for a, _ in both) / against))
            used.append(both)
        if above > 0:
            relative.append((task, math.fsum(a.error - (1 - a.clean) for a, _ in both) / above))
        if against <= 0 or above <= 0:
            left_out.append(f"{task} {corruption}")
    others = [
        (cell.task, cell.error / theirs[key].error)
        for key, cell in found.items()
        if not cell.corruption and key in theirs and theirs[key].error > 0
    ]
    families = dict.fromkeys(sorted({cell.family for cell in corrupted}, key=_family_order))
    return Line(
        **labels_of(first) | {"reference": reference},
        families={
            family: _over_tasks((c.task, c.error) for c in corrupted if c.family == family) for family in families
        },
        error=_over_tasks((cell.task, cell.error) for cell in corrupted),
        mce=_over_tasks(ratios),
        spread=spread_of(used, scored) if name != reference else Spread(),
        relative_mce=_over_tasks(relative),
        others=_over_tasks(others),
        ece=_over_tasks((cell.task, cell.ece) for cell in corrupted if not math.isnan(cell.ece)),
        clean_ece=_over_tasks((cell.task, scored.clean_ece(cell)) for cell in {c.task: c for c in corrupted}.values()),
        tasks=len({cell.task for cell in found.values()}),
        severities=tuple(sorted({cell.severity for cell in corrupted})),
        left_out=tuple(left_out),
    )


def _over_tasks(values: Any) -> float:
    """Return the mean over tasks of each task's mean; NaN of nothing."""
    by_task: dict[str, list[float]] = {}
    for task, value in values:
        by_task.setdefault(task, []).append(value)
    return mean(mean(own) for own in by_task.values())


def _family_order(family: str) -> tuple[int, str]:
    known = list(dict.fromkeys(one.family for one in extensions.known("corruptions").values()))
    return (known.index(family) if family in known else len(known), family)


def shift_csv(cells: Sequence[Cell]) -> str:
    """Return one row per checkpoint, task and test set; fractions."""
    from ..store.csvfile import to_csv

    at = {(c.way, c.checkpoint, c.task, c.test, c.fingerprint): c for c in cells}
    rows = []
    for cell in cells:
        other = at.get((cell.way, cell.compared_with, cell.task, cell.test, cell.fingerprint))
        ratio = cell.error / other.error if other is not None and other.error > 0 else math.nan
        rows.append(
            (
                *cell.way, cell.checkpoint, cell.method, cell.sparsity, cell.compared_with, cell.task, cell.test,
                cell.corruption, cell.family, cell.severity or None, cell.accuracy.n, cell.images,
                *map(_number, (cell.accuracy.mean, cell.accuracy.sd, cell.clean, cell.ece, cell.nll)),
                None if other is None else _number(other.accuracy.mean), _number(ratio),
            )
        )  # fmt: skip
    return to_csv(CSV_COLUMNS, rows)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def lines_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return what :func:`shift_lines` gives as JSON has it; fractions, null for what isn't known."""
    return [
        dict(zip(WAY, line.way, strict=True))
        | {"checkpoint": line.checkpoint, "reference": line.reference, "scope": line.spread.scope}
        | {"severities": list(line.severities), **_numbers(line)}
        | {"families": {family: _number(value) for family, value in line.families.items()}}
        | {"left_out": list(line.left_out)}
        for line in lines
    ]


def lines_csv(lines: Sequence[Line]) -> str:
    """Return one row per checkpoint that :func:`shift_lines` gives; fractions, with an error per family."""
    from ..store.csvfile import to_csv

    families = _families(lines)
    rows = [
        (
            *line.way, line.checkpoint, line.method, line.sparsity, line.reference,
            " ".join(map(str, line.severities)), line.spread.scope, *_numbers(line).values(),
            *(_number(line.families.get(family, math.nan)) for family in families),
        )
        for line in lines
    ]  # fmt: skip
    return to_csv((*LINE_COLUMNS, *(f"{family}_error" for family in families)), rows)


def _numbers(line: Line) -> dict[str, float | None]:
    half = line.spread.half
    values = (
        line.error, line.mce, line.mce - half, line.mce + half, line.relative_mce, line.others, line.ece, line.clean_ece
    )  # fmt: skip
    return dict(zip(_NUMBERS, map(_number, values), strict=True))


def _families(lines: Sequence[Line]) -> list[str]:
    return sorted({name for line in lines for name in line.families}, key=_family_order)


def shift_tables(lines: Sequence[Line]) -> list[Table]:
    """Return one table per way of running."""
    return [_table(way, [line for line in lines if line.way == way]) for way in _ways(lines)]


def _table(way: Way, lines: Sequence[Line]) -> Table:
    families = _families(lines)
    scopes = sorted({line.spread.scope for line in lines} - {""})
    over = f" [95 % over {', or over '.join(scopes)}]" if scopes else ""
    header = ("Checkpoint", "Sparsity %", "Severities", *(f"{name.capitalize()} error %" for name in families))
    header += ("Error %", f"mCE %{over}", "Relative mCE %", "Other tests %", "ECE %", "Clean ECE %")
    rows = tuple(tuple(map(Field, _texts(line, families))) for line in lines)
    notes = list(_NOTES)
    if out := sorted({name for line in lines for name in line.left_out}):
        notes.append(
            f"Left out of mCE or relative mCE somewhere: {', '.join(out[:8])}{', ...' if len(out) > 8 else ''}."
        )
    return Table(f"Further test sets: {way_title(way)}", header, rows, tuple(notes))


def _texts(line: Line, families: Sequence[str]) -> Iterator[str]:
    yield line.checkpoint
    yield percent(line.sparsity, 0)
    yield ", ".join(map(str, line.severities)) or NOTHING
    for family in families:
        yield _shown(line.families.get(family, math.nan))
    yield _shown(line.error)
    half = line.spread.half
    ends = f" [{percent(line.mce - half, 1)}, {percent(line.mce + half, 1)}]" if not math.isnan(half) else ""
    yield _shown(line.mce) + ends
    yield _shown(line.relative_mce)
    yield _shown(line.others)
    yield _shown(line.ece)
    yield _shown(line.clean_ece)


def _shown(value: float) -> str:
    return NOTHING if math.isnan(value) else percent(value, 1)


__all__ = ["Cell", "Line", "lines_csv", "lines_json", "shift_cells", "shift_csv", "shift_lines", "shift_tables"]
