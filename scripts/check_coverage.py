"""Check by simulation that what calls itself 95 % covers 95 %, and that verdicts and ranks are rarely false.

    scripts/check_coverage.py [--kind closed|bootstrap] [--cells GLOB] [--sets N] [--out FILE] [--totals FILE]
                              [--table FILE] [--figure FILE]

Draws data sets of known truth (sparsebench.analysis.simulation), in each of some ninety shapes, or twelve for the
bootstrap. Counts are written to a CSV file in batches; batches that are there already are not drawn again, so it can be
stopped and goes on where it was. With the default numbers it takes hours; with --sets 0 it shows what there is.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from fnmatch import fnmatchcase
from pathlib import Path

from sparsebench.analysis.coverage import Counts, bootstrap_shapes, check_bootstrap, check_closed_forms, shapes
from sparsebench.analysis.simulation import Shape

BATCH = 50
COLUMNS = ("kind", "shape", "batch", *(f.name for f in fields(Counts)))
DEFAULT_SETS = {"closed": 2000, "bootstrap": 500}
HEADER = (
    "shape", "sets", "overall", "per task", "false verdict on a task", "false overall verdict", "false rank", "power",
    "mean width",
)  # fmt: skip


def main() -> None:
    """Draw what is missing, then write the table and the figure."""
    parser = argparse.ArgumentParser(description="check the coverage of intervals by simulation")
    parser.add_argument("--kind", choices=("closed", "bootstrap"), default="closed")
    parser.add_argument("--cells", default="*", metavar="GLOB", help="shapes to draw: n500-* (default: all)")
    parser.add_argument("--sets", type=int, metavar="N", help="data sets per shape (default: 2000, bootstrap: 500)")
    parser.add_argument("--out", type=Path, default=Path("coverage.csv"), help="counts (default: coverage.csv)")
    parser.add_argument("--totals", type=Path, help="write the counts by shape, as CSV")
    parser.add_argument("--table", type=Path, help="write the table, as Markdown")
    parser.add_argument("--figure", type=Path, help="draw the figure: .png, .pdf or .svg")
    arguments = parser.parse_args()
    sets = DEFAULT_SETS[arguments.kind] if arguments.sets is None else arguments.sets
    draw_missing(arguments.kind, arguments.cells, sets, arguments.out)
    found = read(arguments.out)
    totals = {shape: counts for (kind, shape), counts in found.items() if kind == arguments.kind}
    lines = [[name, *cells(counts)] for name, counts in totals.items()]
    table = "\n".join("| " + " | ".join(line) + " |" for line in [list(HEADER), ["---"] * len(HEADER), *lines])
    print(table)
    if arguments.totals:
        rows = [(kind, shape, *asdict(counts).values()) for (kind, shape), counts in found.items()]
        head = tuple(column for column in COLUMNS if column != "batch")
        arguments.totals.write_text("".join(",".join(map(str, row)) + "\n" for row in (head, *rows)))
    if arguments.table:
        arguments.table.write_text(table + "\n")
    if arguments.figure:
        draw_figure(totals, arguments.figure)


def draw_missing(kind: str, pattern: str, sets: int, out: Path) -> None:
    """Draw the batches that the file of counts lacks, and append them."""
    chosen = shapes() if kind == "closed" else bootstrap_shapes()
    check = check_closed_forms if kind == "closed" else check_bootstrap
    done = {(row["kind"], row["shape"], int(row["batch"])) for row in _rows(out)}
    if not out.exists():
        _append(out, COLUMNS)
    for shape in dict.fromkeys(chosen):
        if not fnmatchcase(shape.name, pattern):
            continue
        for batch in range(math.ceil(sets / BATCH)):
            if (kind, shape.name, batch) in done:
                continue
            seed = int(hashlib.sha256(f"{kind} {shape.name} {batch}".encode()).hexdigest()[:15], 16)
            counts = check(shape, BATCH, seed)
            _append(out, (kind, shape.name, batch, *asdict(counts).values()))


def read(out: Path) -> dict[tuple[str, str], Counts]:
    """Return the counts by kind and shape, summed over batches."""
    totals: dict[tuple[str, str], Counts] = {}
    for row in _rows(out):
        numbers = {f.name: int(row[f.name]) for f in fields(Counts) if f.name != "width"}
        own = Counts(**numbers, width=float(row["width"]))
        key = row["kind"], row["shape"]
        totals[key] = totals.get(key, Counts()) + own
    return totals


def cells(counts: Counts) -> list[str]:
    """Return a line of the table, fractions as percent."""
    n = counts.sets
    checked = counts.task_intervals > 0
    return [
        str(n),
        f"{100 * counts.covered / n:.1f}",
        f"{100 * counts.task_covered / counts.task_intervals:.1f}" if checked else "",
        *(f"{100 * number / n:.1f}" if checked else "" for number in (counts.false_tasks, counts.false_overall)),
        f"{100 * counts.false_ranks / counts.rank_sets:.1f}" if counts.rank_sets else "",
        f"{100 * counts.decided / n:.1f}" if checked else "",
        f"{counts.width / n:.3f}",
    ]


def draw_figure(totals: dict[str, Counts], path: Path) -> None:
    """Draw what was found for each promise, one point per shape with twice its Monte-Carlo standard error."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    known = {shape.name: shape for shape in (*shapes(), *bootstrap_shapes())}
    rows = list(dict.fromkeys(_row(known[name]) for name in sorted(totals, key=lambda n: _order(known[n]))))
    colours = {"top-1": "#4477aa", "mean per class": "#228833", "images share a source": "#aa3377"}
    figure, axes = plt.subplots(
        1, len(PROMISES), figsize=(9.0, 0.42 * len(rows) + 1.2), sharey=True, layout="constrained"
    )
    for own, (title, promised, part) in zip(axes, PROMISES, strict=True):
        places: dict[str, int] = {}
        for name, counts in totals.items():
            number, of = part(counts, known[name])
            if not of:
                continue
            row = _row(known[name])
            place = rows.index(row) - 0.38 + 0.76 * ((places.get(row, 0) * 0.382) % 1.0)  # apart, in any number
            places[row] = places.get(row, 0) + 1
            share = number / of
            error = 200.0 * math.sqrt(share * (1.0 - share) / counts.sets)
            colour = colours[_kind(known[name])]
            own.errorbar(100.0 * share, place, xerr=error, fmt="o", color=colour, markersize=2.5, linewidth=0.5)
        own.set_xlim((87.5, 100.5) if promised > 50 else (-0.5, 12.0))
        own.axvline(promised, color="0.5", linewidth=0.9, linestyle="--")
        own.set_title(title, fontsize=8)
        own.set_xlabel("% of intervals" if promised > 50 else "% of data sets", fontsize=8)
        own.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    handles = [
        plt.Line2D([], [], color=c, marker="o", markersize=3, linestyle="none", label=k) for k, c in colours.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


PROMISES: tuple[tuple[str, float, Callable[[Counts, Shape], tuple[int, int]]], ...] = (
    ("overall interval covers", 95.0, lambda c, _: (c.covered, c.sets)),
    ("task's interval covers", 95.0, lambda c, _: (c.task_covered, c.task_intervals)),
    ("false verdict on a task", 5.0, lambda c, _: (c.false_tasks, c.sets if c.task_intervals else 0)),
    ("false overall verdict,\nwhere nothing differs", 5.0, lambda c, s: (c.false_overall, c.sets * (not any(s.gaps)))),
    ("false rank", 5.0, lambda c, _: (c.false_ranks, c.rank_sets)),
)
"""Titles, what is promised in percent, and how often it happened, of how many."""


def _order(shape: Shape) -> tuple[int, int]:
    return shape.replicates, shape.seeds if shape.replicates == 1 else 0


def _row(shape: Shape) -> str:
    replicates, seeds = _order(shape)
    return f"{replicates} replicates" if replicates > 1 else f"{seeds} seed{'s' * (seeds > 1)}"


def _kind(shape: Shape) -> str:
    return "images share a source" if shape.cluster > 1 else "top-1" if shape.classes == 2 else "mean per class"


def _rows(out: Path) -> list[dict[str, str]]:
    if not out.exists():
        return []
    whole, _, _ = out.read_text().rpartition("\n")  # a line that a killed process left half written is drawn again
    return list(csv.DictReader(whole.splitlines()))


def _append(out: Path, values: Sequence[object]) -> None:
    with out.open("a+b") as handle:
        handle.seek(0)
        handle.truncate(handle.read().rfind(b"\n") + 1)
        handle.write((",".join(str(value) for value in values) + "\n").encode())


if __name__ == "__main__":
    main()
