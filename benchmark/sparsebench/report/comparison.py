"""A comparison with published results, written out: terminal, CSV, Markdown and LaTeX."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..analysis.metrics import mean
from .compare import COLUMNS
from .style import SEED_CAPTION, percent, signed_percent
from .tables import NOTHING, Field, Table
from .terminal import render_tables

if TYPE_CHECKING:
    import pandas as pd

Line = dict[str, Any]

_NAMED = 3  # checkpoints that are named where several have no published value
_HEADER = ("Task", "Ours", "Published", "Difference", "Verdict", "Seeds")
_NOTES = (
    "Accuracy in percent, mean ± standard deviation over seeds; seeds: ours/published. Difference: in points, with half"
    " of its 95 % interval.",
    "Within: the difference is inside Welch's 95 % interval of a difference of means over seeds (where one side has one"
    " seed, with the other's standard deviation for both; where both have, there is no verdict)."
    " Of differences that are all chance, about one in twenty is outside.",
    f"{SEED_CAPTION} Two models of one recipe differ by more.",
)


def comparison_csv(table: pd.DataFrame) -> str:
    """Return a comparison as CSV."""
    from ..store.csvfile import to_csv

    return to_csv(COLUMNS, table.itertuples(index=False, name=None))


def comparison_tables(table: pd.DataFrame) -> list[Table]:
    """Return one table an architecture and mode, and one of what has no published counterpart."""
    lines = [{str(k): v for k, v in line.items()} for line in table.to_dict("records")]
    matched = [line for line in lines if line["verdict"] != "not published"]
    keys = dict.fromkeys((line["arch"], line["mode"]) for line in matched)
    tables = [_matched(*key, [line for line in matched if (line["arch"], line["mode"]) == key]) for key in keys]
    alone = [line for line in lines if line["verdict"] == "not published"]
    return tables + ([_alone(alone)] if alone else [])


def render_comparison(table: pd.DataFrame, *, width: int | None = None, colour: bool = False) -> str:
    """Return a comparison as text for a terminal, its outcome in the last line."""
    return f"{render_tables(comparison_tables(table), width=width, colour=colour)}\n{outcome(table)}\n"


def outcome(table: pd.DataFrame) -> str:
    """Return a comparison in one line: how many cells were compared, and how they came out."""
    counts = table["verdict"].value_counts()
    compared = len(table) - int(counts.get("not published", 0))
    parts = [f"{counts[name]} {name}" for name in ("within", "above", "below") if name in counts]
    parts += [f"{counts['unknown']} with one seed on both sides"] if "unknown" in counts else []
    parts += [f"{counts['not published']} without a published value"] if "not published" in counts else []
    return (
        f"{compared or 'no'} {'cells' if compared > 1 else 'cell'} compared: {', '.join(parts) or 'there is no result'}"
    )


def _matched(arch: str, mode: str, lines: list[Line]) -> Table:
    """Return the table of an architecture and mode: each checkpoint's name, its tasks and their mean."""
    notes: list[str] = []
    rows: list[tuple[Field, ...]] = []
    pair = ("checkpoint", "published_checkpoint", "protocol", "probe")
    for key in dict.fromkeys(tuple(line[name] for name in pair) for line in lines):
        own = [line for line in lines if tuple(line[name] for name in pair) == key]
        shared = own[0]["note"] if len({line["note"] for line in own}) == 1 else ""
        rows.append((Field(str(key[0]) + _mark(shared, notes), best=True), *[Field("")] * (len(_HEADER) - 1)))
        rows += [_row(line, "" if shared else _mark(line["note"], notes)) for line in own]
        rows += [_mean_row(own)] if len(own) > 1 else []
    marked = (f"[{number}] {note}." for number, note in enumerate(notes, start=1))
    return Table(f"Against published: {mode} · arch {arch}", _HEADER, tuple(rows), (*_NOTES, *marked))


def _row(line: Line, mark: str) -> tuple[Field, ...]:
    half = line["half_width"]
    difference = signed_percent(line["difference"], 2)
    texts = (
        line["task"] + mark,
        _spread(line["ours"], line["ours_sd"]),
        _spread(line["published"], line["published_sd"]),
        difference if math.isnan(half) else f"{difference} ± {percent(half)}",
        NOTHING if line["verdict"] == "unknown" else line["verdict"],
        f"{line['ours_n']:.0f}/{line['published_n']:.0f}",
    )
    return tuple(map(Field, texts))


def _mean_row(lines: list[Line]) -> tuple[Field, ...]:
    """Return the row of a checkpoint's means over the tasks that both have."""
    ours, published = (mean(line[name] for line in lines) for name in ("ours", "published"))
    difference = signed_percent(ours - published, 2)
    texts = (f"mean of {len(lines)} tasks", percent(ours), percent(published), difference, "", "")
    return tuple(map(Field, texts))


def _alone(lines: list[Line]) -> Table:
    """Return what was run and has no published value, a row per mode and reason."""
    tasks: dict[tuple[str, str, str], list[str]] = {}
    for line in lines:
        tasks.setdefault((line["checkpoint"], line["mode"], line["note"]), []).append(line["task"])
    found: dict[tuple[str, str, str], list[str]] = {}
    for (name, mode, why), own in tasks.items():
        found.setdefault((mode, " ".join(dict.fromkeys(own)), why), []).append(name)
    rows = [(_several(names), mode, own, why) for (mode, own, why), names in found.items()]
    header = ("Checkpoints", "Mode", "Tasks", "Reason")
    return Table("Without a published value", header, tuple(tuple(map(Field, row)) for row in rows))


def _several(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= _NAMED else f"{len(names)}: {names[0]} to {names[-1]}"


def _mark(note: str, notes: list[str]) -> str:
    """Return the mark of a note, which is added to ``notes`` if it is new."""
    if not note:
        return ""
    if note not in notes:
        notes.append(note)
    return f" [{notes.index(note) + 1}]"


def _spread(value: float, sd: float) -> str:
    return percent(value) if math.isnan(sd) else f"{percent(value)} ± {percent(sd)}"
