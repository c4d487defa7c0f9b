r"""Tables for papers: Markdown and LaTeX (booktabs), percent ± sd over seeds, the best of each column in bold.

One table per group (suite, architecture, mode, probe, protocol). What a table says is built once, as a :class:`Table`;
how it is spelled is up to the writers. The LaTeX needs ``\usepackage{booktabs}`` and ``\usepackage{graphicx}``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..analysis.metrics import Sample
from ..schema.text import printable
from .aggregate import Aggregate
from .latex import escape_latex, label
from .style import UNDERFIT_CAPTION, group_title, metric_sentence, percent, seed_caption, signed_percent

NOTHING = "–"
RELATIVE_ERROR, INTERVAL_OVER, IMAGE_BOUND, RANKS = "Relative error %", "Interval over", "Images", ("Avg. rank", "Rank")
RANK_CAPTION = (
    "Rank: with 95 % confidence the true ranks of all entries lie in these intervals; only entries whose intervals have"
    " the same scope are ranked together."
)
IMAGE_CAPTION = (
    "Images: without predictions no interval covers the test images; by binomial variances an interval over them alone"
    " has at most this half-width."
)
_COLUMN = 8
"""Columns of a table that fit into one column of a two-column page."""


@dataclass(frozen=True)
class Field:
    """One field of a table."""

    text: str
    best: bool = False

    def __post_init__(self) -> None:
        """Spell out control characters: names come from records, and records from anybody."""
        object.__setattr__(self, "text", printable(self.text))


@dataclass(frozen=True)
class Table:
    """A table as text: heading, column names, rows, and sentences for below it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Field, ...], ...]
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Spell out control characters, as in a :class:`Field`."""
        object.__setattr__(self, "title", printable(self.title))
        for name in ("header", "notes"):
            object.__setattr__(self, name, tuple(printable(text) for text in getattr(self, name)))


def build_tables(statistics: Aggregate) -> list[Table]:
    """Return one table per group, checkpoints from best to worst."""
    return [build_table(group_title(group), part) for group, part in statistics.groups()]


def build_table(title: str, statistics: Aggregate) -> Table:
    """Return the table of one group."""
    tasks = statistics.tasks
    lines = statistics.lines
    cells = {task: [statistics.cell(line["checkpoint"], task) for line in lines] for task in tasks}
    ranks = [rank_text(line["average_rank"], 1) for line in lines]
    scopes = {line["scope"] for line in lines if _has_interval(line)}
    bounds = [_bound(line["image_bound"]) for line in lines]
    columns = [
        [Field(line["checkpoint"] + (" *" if line["note"] else "")) for line in lines],
        [Field(sparsity_text(line)) for line in lines],
        *(mark_best([c.mean if c else math.nan for c in cells[t]], [spread(c) for c in cells[t]]) for t in tasks),
        mark_best(_of_complete(lines, "mean_accuracy"), [_percent(line["mean_accuracy"]) for line in lines]),
        mark_best(_of_complete(lines, "relative_error"), [relative_error(line) for line in lines], smallest=True),
        *([[Field(line["scope"] if _has_interval(line) else "") for line in lines]] if len(scopes) > 1 else []),
        *([[Field(text) for text in bounds]] if any(bounds) else []),
        mark_best(_of_complete(lines, "average_rank"), ranks, smallest=True),
        [Field(rank_interval(line)) for line in lines],
    ]
    over = f" [95 % over {next(iter(scopes))}]" if len(scopes) == 1 else ""
    header = ("Checkpoint", "Sparsity %", *tasks, "Mean", RELATIVE_ERROR + over)
    header += ((INTERVAL_OVER,) if len(scopes) > 1 else ()) + ((IMAGE_BOUND,) if any(bounds) else ())
    return Table(title, (*header, *RANKS), tuple(zip(*columns, strict=True)), _notes(lines, statistics))


def _has_interval(line: dict[str, Any]) -> bool:
    return bool(line["relative_error_high"] > line["relative_error_low"])


def _bound(value: float) -> str:
    return "" if math.isnan(value) else f"± {percent(value, 1)}"


def rank_interval(line: dict[str, Any]) -> str:
    """Return a summary line's rank as an interval, ``3–9 of 31``."""
    low, high, ranked = (line[name] for name in ("rank_low", "rank_high", "ranked"))
    if low is None or low != low:
        return NOTHING
    ends = f"{low:.0f}" if low == high else f"{low:.0f}–{high:.0f}"
    return f"{ends} of {ranked:.0f}"


def spread(cell: Sample | None) -> str:
    """Return a cell's accuracy in percent with its standard deviation over seeds."""
    if cell is None:
        return NOTHING
    text = percent(cell.mean)
    return text if math.isnan(cell.sd) else f"{text} ± {percent(cell.sd)}"


def relative_error(line: dict[str, Any]) -> str:
    """Return a summary line's relative error increase in percent with its interval."""
    value, low, high = (line[f"relative_error{end}"] for end in ("", "_low", "_high"))
    if math.isnan(value):
        return NOTHING
    if math.isnan(low) or low == high:
        return signed_percent(value)
    return f"{signed_percent(value)} [{signed_percent(low)}, {signed_percent(high)}]"


def markdown(tables: Sequence[Table]) -> str:
    """Return the tables as GitHub-flavoured Markdown."""
    parts = []
    for table in tables:
        header = [_escape_markdown(name) for name in table.header]
        rule = ["---", *["---:"] * (len(header) - 1)]
        rows = [[_bold(f, "**{}**", _escape_markdown) for f in row] for row in table.rows]
        lines = ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
        notes = [_escape_markdown(note) for note in table.notes]
        parts.append("\n".join([f"### {_escape_markdown(table.title)}", "", *lines, "", *_paragraphs(notes)]))
    return "\n".join(parts)


def latex(tables: Sequence[Table]) -> str:
    """Return the tables as LaTeX ``table`` environments."""
    return "\n".join(_latex_table(table) for table in tables)


def _latex_table(table: Table) -> str:
    rows = [" & ".join(_bold(f, r"\textbf{{{}}}", escape_latex) for f in row) + r" \\" for row in table.rows]
    caption = " ".join([f"{table.title}.", *table.notes])
    environment = "table*" if len(table.header) > _COLUMN else "table"  # across both columns of a page, or in one
    return "\n".join(
        [
            rf"\begin{{{environment}}}",
            r"\centering",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\label{{tab:{label(table.title)}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            " & ".join(map(escape_latex, table.header)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\end{{{environment}}}",
            "",
        ]
    )


def _notes(lines: list[dict[str, Any]], statistics: Aggregate) -> tuple[str, ...]:
    """Return the text below a table."""
    notes = [_seeds_sentence(min(line["seeds_min"] for line in lines), max(line["seeds_max"] for line in lines))]
    metric = metric_sentence(statistics.per_class_tasks)
    notes += [metric] if metric else []
    notes.append("Relative error: mean over tasks of the increase in error against the dense reference, 95 % interval.")
    if any(not math.isnan(line["image_bound"]) for line in lines):
        notes.append(IMAGE_CAPTION)
    notes.append(f"{seed_caption(lines[0]['probe'])} Avg. rank: the mean over tasks of the accuracy's rank.")
    notes += [RANK_CAPTION] if any(rank_interval(line) != NOTHING for line in lines) else []
    notes += [UNDERFIT_CAPTION] if any(line["underfit"] for line in lines) else []
    marked = [f"{line['checkpoint']}: {line['note']}" for line in lines if line["note"]]
    return (*notes, *([f"* {'. '.join(marked)}."] if marked else []))


def _seeds_sentence(least: int, most: int) -> str:
    if most <= 1:
        return "Accuracy in percent, of one seed: there is no spread."
    seeds = f"{least}" if least == most else f"{least} to {most}"
    return f"Accuracy in percent, mean ± standard deviation over {seeds} seeds."


def _of_complete(lines: list[dict[str, Any]], name: str) -> list[float]:
    return [line[name] if line["complete"] else math.nan for line in lines]


def mark_best(values: list[float], texts: list[str], *, smallest: bool = False) -> list[Field]:
    """Mark the fields that show the best value, where there is more than one to choose from."""
    known = [v for v in values if not math.isnan(v)]
    if len(known) < 2:
        return [Field(text) for text in texts]
    best = (min if smallest else max)(round(v, 6) for v in known)
    return [Field(text, not math.isnan(v) and round(v, 6) == best) for v, text in zip(values, texts, strict=True)]


def sparsity_text(line: dict[str, Any]) -> str:
    """Return a summary line's nominal sparsity in percent, with the N:M pattern where it has one."""
    value = line["sparsity"]
    text = NOTHING if math.isnan(value) else f"{100 * value:.4g}"
    return f"{text} ({line['nm']})" if line["nm"] else text


def _percent(value: float) -> str:
    return NOTHING if math.isnan(value) else percent(value)


def rank_text(value: Any, digits: int = 0) -> str:
    """Return a rank, with decimals if it is an average."""
    return NOTHING if value is None or value != value else f"{value:.{digits}f}"


def _bold(item: Field, pattern: str, escape: Callable[[str], str]) -> str:
    text = escape(item.text)
    return pattern.format(text) if item.best else text


def _paragraphs(notes: list[str]) -> list[str]:
    return [line for note in notes for line in (note, "")]


def _escape_markdown(text: str) -> str:
    for character in "\\`*_|<>#":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
