"""Check by simulation that what calls itself 95 % covers 95 %, and that verdicts and ranks are rarely false.

    scripts/check_coverage.py [--kind closed|bootstrap] [--cells GLOB] [--sets N] [--out FILE] [--table FILE]
                              [--figure FILE]

Draws data sets of known truth (sparsebench.analysis.simulation), in each of some seventy shapes, or twelve for the
bootstrap. Counts are written to a CSV file in batches; batches that are there already are not drawn again, so it can be
stopped and goes on where it was. With the default numbers it takes hours.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from fnmatch import fnmatchcase
from pathlib import Path

from sparsebench.analysis.coverage import Counts, bootstrap_shapes, check_bootstrap, check_closed_forms, shapes

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
    parser.add_argument("--table", type=Path, help="write the table, as Markdown")
    parser.add_argument("--figure", type=Path, help="draw the figure: .png, .pdf or .svg")
    arguments = parser.parse_args()
    draw_missing(arguments.kind, arguments.cells, arguments.sets or DEFAULT_SETS[arguments.kind], arguments.out)
    totals = {shape: counts for (kind, shape), counts in read(arguments.out).items() if kind == arguments.kind}
    lines = [[name, *cells(counts)] for name, counts in totals.items()]
    table = "\n".join("| " + " | ".join(line) + " |" for line in [list(HEADER), ["---"] * len(HEADER), *lines])
    print(table)
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
    """Draw the coverage of every shape with its Monte-Carlo standard error, and the line that it mustn't fall below."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.0, 0.16 * len(totals) + 1.0), layout="constrained")
    for place, counts in enumerate(totals.values()):
        for offset, colour, covered, total in (
            (-0.15, "C0", counts.covered, counts.sets),
            (0.15, "C1", counts.task_covered, counts.task_intervals),
        ):
            if total:
                share = covered / total
                error = math.sqrt(max(share * (1 - share), 1e-9) / counts.sets)
                axes.errorbar(share, place + offset, xerr=2 * error, fmt="o", color=colour, markersize=3, linewidth=1)
    axes.axvline(0.95, color="0.6", linewidth=1)
    axes.axvline(0.93, color="0.6", linewidth=1, linestyle=":")
    axes.set_yticks(range(len(totals)), list(totals), fontsize=6)
    axes.set_xlabel("coverage (blue: overall, orange: single tasks)")
    axes.invert_yaxis()
    figure.savefig(path)


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
