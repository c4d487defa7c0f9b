"""The table that a run ends with: accuracy by task with its spread, mean, and relative error against the reference."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..registry import Registry, load_tasks
from ..schema.text import printable
from .aggregate import Aggregate, kept_of, statistics_of
from .cells import GROUP, entries_of
from .contents import by_content
from .own_task import OwnTask, own_task_rows, own_task_tables, own_task_values
from .style import UNDERFIT_CAPTION, group_title, seed_caption
from .tables import IMAGE_BOUND, INTERVAL_OVER, RANKS, Field, Table, build_table

if TYPE_CHECKING:
    import pandas as pd

    from ..store.classes import Reader

Commands = Mapping[str, str] | Callable[[str], str | None]
"""From a reference's id to the command that runs it."""

Rows = list[list[Field]]

_GAP = 3


def render_terminal(
    frame: pd.DataFrame,
    *,
    keys: Collection[str] | None = None,
    commands: Commands | None = None,
    width: int | None = None,
    colour: bool = False,
    registry: Registry | None = None,
    predictions: Reader | None = None,
) -> str:
    """Return the closing table of a run as text.

    Parameters
    ----------
    frame : DataFrame
        Tidy results, the references' among them where they have run.
    keys : collection of str, optional
        The record keys of the runs that were asked for; only they are shown, with their references. Default: all.
    commands : mapping or callable, optional
        Gives the command that runs a reference which has not run.
    width : int, optional
        Columns of the terminal; by default its own.
    colour : bool
        Whether to use the terminal's bold and dim.
    registry : Registry, optional
        The tasks and suites; the built-in ones by default.
    predictions : callable, optional
        What :func:`sparsebench.store.classes.classes_reader` gives: with it intervals cover test images.
    """
    columns = width or shutil.get_terminal_size((100, 24)).columns
    parts, captions = [], []
    scopes: dict[str, None] = {}
    for group, part in _asked(frame, keys, registry, predictions):
        chosen = part.summary
        table = build_table(group_title(group), part)
        captions.append(seed_caption(group["probe"]))
        scopes |= dict.fromkeys(chosen.loc[chosen["relative_error_high"] > chosen["relative_error_low"], "scope"])
        parts.append(_draw(table, columns, colour) + "".join(f"{note}\n" for note in _notes(chosen, commands)))
    own = render_tables(own_task_tables(_own(frame, keys, registry)), width=columns, colour=colour)
    if not parts:
        return own or "No results yet.\n"
    caption = " ".join(dict.fromkeys(captions))
    interval = f"; [95 % interval over {', or over '.join(scopes)}]" if scopes else ""
    return "\n".join(parts) + f"\nPercent, mean ± sd over seeds{interval}. {caption}\n" + (f"\n{own}" if own else "")


def closing_rows(
    frame: pd.DataFrame,
    *,
    keys: Collection[str] | None = None,
    registry: Registry | None = None,
    predictions: Reader | None = None,
) -> list[dict[str, Any]]:
    """Return the closing table of a run as values: a row per checkpoint and group, with its ``cells`` by task.

    The parameters are those of :func:`render_terminal`; accuracies are fractions, and what isn't known is None. Rows
    of mode ``upstream`` are those of :class:`.own_task.OwnTask`.
    """
    rows: list[dict[str, Any]] = []
    for _, part in _asked(frame, keys, registry, predictions):
        cells = json.loads(part.cells.to_json(orient="records", double_precision=15))
        for line in json.loads(part.summary.to_json(orient="records", double_precision=15)):
            own = [cell for cell in cells if cell["checkpoint"] == line["checkpoint"]]
            names = ("metric", "mean", "sd", "n", "n_failed")
            rows.append(line | {"cells": {cell["task"]: {name: cell[name] for name in names} for cell in own}})
    return rows + own_task_values(_own(frame, keys, registry))


def _own(frame: pd.DataFrame, keys: Collection[str] | None, registry: Registry | None) -> list[OwnTask]:
    """Return the runs on the checkpoints' own tasks that were asked for."""
    registry = registry or load_tasks()
    return own_task_rows(frame, registry, keys)


def _asked(
    frame: pd.DataFrame, keys: Collection[str] | None, registry: Registry | None, predictions: Reader | None
) -> Iterator[tuple[dict[str, str], Aggregate]]:
    """Yield each group with the statistics of the checkpoints that were asked for."""
    registry = registry or load_tasks()
    shown = by_content(frame, registry)
    asked = set(entries_of(shown))
    if keys is not None:
        shown = _with_references(shown, set(keys))
        asked = set(entries_of(shown[shown["record_key"].isin(keys)]))
    for group, part in statistics_of(shown, kept_of(registry, predictions)).groups():
        chosen = part.summary[part.summary["checkpoint"].isin(asked)].reset_index(drop=True)
        if len(chosen):
            yield group, Aggregate(part.cells, chosen)


def render_tables(tables: Sequence[Table], *, width: int | None = None, colour: bool = False) -> str:
    """Return any tables as text, cut into pieces where they are wider than the terminal, and each note once."""
    columns = width or shutil.get_terminal_size((100, 24)).columns
    parts = []
    said: set[str] = set()
    for table in tables:
        rows = [[Field(name) for name in table.header], *map(list, table.rows)]
        pieces = [_rich(piece, colour) for piece in _split(rows, columns)]
        notes = [note for note in table.notes if note not in said]
        said.update(notes)
        parts.append("\n".join([f"{table.title}\n", *pieces]) + "".join(f"{note}\n" for note in notes))
    return "\n".join(parts)


def _with_references(table: pd.DataFrame, keys: set[str]) -> pd.DataFrame:
    """Return the asked runs' cells, and those of their references."""
    wanted = table[table["record_key"].isin(keys)]
    settings = [*(c for c in GROUP if c not in ("suite", "arch")), "task"]

    def cells(ids: pd.Series, runs: pd.DataFrame) -> pd.Series:
        return runs[settings].astype("string").fillna("").assign(id=ids).agg("\n".join, axis=1)

    asked = set(cells(wanted["checkpoint"], wanted)) | set(cells(wanted["reference"].fillna(""), wanted))
    return table[cells(table["checkpoint"], table).isin(asked)] if len(table) else table


def _draw(table: Table, width: int, colour: bool) -> str:
    """Return the table, a line per checkpoint; a column per checkpoint where only that fits; else in pieces."""
    # of use among many entries, not after a run
    ranks = [i for i, name in enumerate(table.header) if name in (*RANKS, IMAGE_BOUND, INTERVAL_OVER)]
    header = (Field(name.partition(" [")[0]) for name in table.header)  # what intervals cover is said below
    rows = [tuple(header), *table.rows]
    upright = [[f for i, f in enumerate(row) if i not in ranks] for row in rows]
    turned = [list(row) for row in zip(*upright, strict=True)]
    if _natural_width(upright) <= width:
        pieces = [upright]
    elif _natural_width(turned) <= width:
        pieces = [turned]
    else:
        pieces = _split(upright, width)
    return "\n".join([f"{table.title}\n", *(_rich(piece, colour) for piece in pieces)])


def _natural_width(rows: Rows) -> int:
    return sum(max(len(row[i].text) for row in rows) + _GAP for i in range(len(rows[0])))


def _split(rows: Rows, width: int) -> list[Rows]:
    """Cut a table into pieces that fit, each with the first column."""
    pieces: list[list[int]] = [[0]]
    for column in range(1, len(rows[0])):
        wider = [*pieces[-1], column]
        if len(wider) > 2 and _natural_width([[row[i] for i in wider] for row in rows]) > width:
            pieces.append([0, column])
        else:
            pieces[-1] = wider
    return [[[row[i] for i in columns] for row in rows] for columns in pieces]


def _rich(rows: Rows, colour: bool) -> str:
    """Draw rows (the first is the header) with rich, as wide as they are."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, name in enumerate(rows[0]):
        drawn.add_column(Text(name.text), justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows[1:]:
        drawn.add_row(*(Text(f.text, style="bold" if f.best else "") for f in row))
    out = io.StringIO()
    width = _natural_width(rows) + len(rows[0]) + 1
    console = Console(file=out, width=width, force_terminal=colour, no_color=not colour, legacy_windows=False)
    console.print(drawn)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _notes(lines: pd.DataFrame, commands: Commands | None) -> list[str]:
    """Return what is missing on the lines, and what to do about it."""
    notes = [f"* {name}: {note}" for name, note in zip(lines["checkpoint"], lines["note"], strict=True) if note]
    notes += [UNDERFIT_CAPTION] if any(lines["underfit"]) else []
    against = sorted(set(lines.loc[lines["reference_ran"], "reference"]) - {""})
    notes += [f"Relative error: against {', '.join(against)}."] if against else []
    without = lines[~lines["reference_ran"] & (lines["n_tasks"] > 0)]
    for reference in sorted(set(without["reference"])):
        names = ", ".join(without.loc[without["reference"] == reference, "checkpoint"])
        if not reference:
            notes.append(f"No relative error for {names}: no reference is registered.")
            continue
        command = None
        if commands is not None:
            command = commands(reference) if callable(commands) else commands.get(reference)
        end = f" Run it with:\n  {command}" if command else ""
        notes.append(f"No relative error for {names}: the reference {reference} has not run here.{end}")
    return ["\n".join(map(printable, note.split("\n"))) for note in notes]
