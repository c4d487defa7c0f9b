"""Results beside published ones, cell by cell: the difference, and whether seeds alone would make one as large.

A cell is matched by mode, task and the checkpoint's id, or by the id that the published numbers are probably of (see
:mod:`~sparsebench.report.doubts`); where the id is not published, by architecture, method,
variant, nominal sparsity and N:M pattern instead, and by distribution where both name one (where several published
entries fit, each is a row). What is unlike all the same, a protocol for example, is noted; what has no published
counterpart stays in the table, with the reason.

The rule: with two or more seeds on both sides the verdict is Welch's at 95 %, ``|difference| <= t sqrt(s1^2/n1 +
s2^2/n2)``, with Welch and Satterthwaite's degrees of freedom. Where one side has a single seed, the other's standard
deviation is taken for both: ``t(n - 1) s sqrt(1/n + 1)``. Where both have one there is no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..analysis.metrics import Sample, student_t_quantile
from .aggregate import aggregate
from .doubts import Doubts

if TYPE_CHECKING:
    import pandas as pd

Line = dict[str, Any]

COLUMNS: tuple[str, ...] = (
    "arch",
    "mode",
    "probe",
    "protocol",
    "suite",
    "checkpoint",
    "method",
    "variant",
    "sparsity",
    "nm",
    "distribution",
    "task",
    "metric",
    "ours",
    "ours_sd",
    "ours_n",
    "published_checkpoint",
    "published",
    "published_sd",
    "published_n",
    "difference",
    "half_width",
    "verdict",
    "note",
)
"""Accuracies, differences and half widths of intervals are fractions; ``verdict`` is one of :data:`VERDICTS`."""

VERDICTS: tuple[str, ...] = ("within", "above", "below", "unknown", "not published")

_ROUNDING = 5e-5
"""Half of the last digit of a published accuracy: no difference below it counts."""

_UPSTREAM = 0.005
"""Difference in upstream accuracy from which two checkpoints of one kind are said to differ."""


def compare(frame: pd.DataFrame, published: pd.DataFrame, doubts: Doubts | None = None) -> pd.DataFrame:
    """Return the comparison of a tidy results table with a published one: :data:`COLUMNS`, one row per cell.

    Cells without a finished run are left out. Rows are sorted by architecture, mode, checkpoint and task. ``doubts``
    are noted beside the published numbers that they concern.
    """
    import pandas as pd

    known = doubts or Doubts()
    theirs = [entry | _doubtful(entry, known) for entry in _entries(published)]
    rows: list[Line] = []
    for ours in _entries(frame):
        matches, reason = _match(ours, theirs)
        for task, cell in sorted(ours["cells"].items()):
            metric = ours["metrics"][task]
            found = [other for other in matches if task in other["cells"]]
            base = ours | {"task": task, "metric": metric, "ours": cell.mean, "ours_sd": cell.sd, "ours_n": cell.n}
            if not found:
                why = reason or f"task {task} is not published for it"
                rows.append(base | {"verdict": "not published", "note": why})
            rows += [base | _beside(ours, other, task) for other in found]
    rows.sort(key=lambda r: (r["arch"], r["mode"] != "linear", r["checkpoint"], r["task"], r["protocol"], r["probe"]))
    return pd.DataFrame([{name: row.get(name) for name in COLUMNS} for row in rows], columns=list(COLUMNS))


def difference_interval(one: Sample, other: Sample, *, confidence: float = 0.95) -> float:
    """Return the half width of the interval that seeds give a difference of two means; NaN if no side has a spread."""
    varied = [sample for sample in (one, other) if sample.n > 1]
    if not varied:
        return math.nan
    shared = varied[0].sd ** 2
    terms = [(s.sd**2 if s.n > 1 else shared) / s.n for s in (one, other)]
    total = math.fsum(terms)
    if total == 0.0:
        return 0.0
    if len(varied) == 2:
        degrees = 1.0 / math.fsum((v / total) ** 2 / (s.n - 1) for v, s in zip(terms, (one, other), strict=True))
    else:
        degrees = varied[0].n - 1.0
    return student_t_quantile(0.5 + confidence / 2.0, degrees) * math.sqrt(total)


def verdict(difference: float, half_width: float) -> str:
    """Return whether a difference lies within what seeds account for, else on which side of the published value."""
    if math.isnan(half_width):
        return "unknown"
    if abs(difference) <= half_width + _ROUNDING:
        return "within"
    return "above" if difference > 0 else "below"


def _entries(frame: pd.DataFrame) -> list[Line]:
    """Return each group's checkpoints, with their finished cells, metrics and numbers of test images by task."""
    counts = frame.dropna(subset=["n_test"]).groupby(["checkpoint", "mode", "task"])["n_test"].max().to_dict()
    found = []
    for group, part in aggregate(frame).groups():
        for line in part.lines:
            name = line["checkpoint"]
            cells = {task: cell for task in part.tasks if (cell := part.cell(name, task)) is not None}
            own = part.cells[part.cells["checkpoint"] == name]
            metrics = dict(zip(own["task"], own["metric"], strict=True))
            sizes = {task: counts.get((name, group["mode"], task)) for task in cells}
            found.append(line | group | {"cells": cells, "metrics": metrics, "sizes": sizes})
    return found


def _doubtful(entry: Line, doubts: Doubts) -> Line:
    """Return what is doubtful about a published entry, and the checkpoint that it probably is."""
    name = entry["checkpoint"]
    return {"doubts": doubts.about(name, entry["mode"]), "probably": doubts.probably.get(name, name)}


def _percent(line: Line) -> str:
    return f"{100 * line['sparsity']:.4g} %"


_STEPS: tuple[tuple[str, Callable[[Line], Any], Callable[[Line], str]], ...] = (
    ("architecture", lambda e: e["arch"], lambda e: e["arch"]),
    ("mode", lambda e: e["mode"], lambda e: e["mode"]),
    ("method", lambda e: e["method"], lambda e: e["method"]),
    ("N:M pattern", lambda e: e["nm"], lambda e: e["nm"] or "none"),
    ("variant", lambda e: e["variant"], lambda e: e["variant"] or "none"),
    ("sparsity", lambda e: round(e["sparsity"], 4), _percent),
)
"""What must agree, in this order, with its name and how a value of it is shown."""


def _match(ours: Line, theirs: list[Line]) -> tuple[list[Line], str]:
    """Return the published entries that a checkpoint is compared with, or none and the reason."""
    known = [o for o in theirs if ours["checkpoint"] in (o["checkpoint"], o["probably"]) and _same(o, ours, "mode")]
    if known:
        return known, ""
    left = [other for other in theirs if not other["twin_of"]]
    for name, key, show in _STEPS:
        kept = [other for other in left if key(other) == key(ours)]
        if not kept:
            there = ", ".join(dict.fromkeys(show(o) for o in sorted(left, key=lambda o: o["sparsity"])))
            return [], f"{name} {show(ours)} is not published" + (f" (published: {there})" if left else "")
        left = kept
    if ours["twin_of"]:
        return [], "dense twins are not published"
    kept = [o for o in left if not (o["distribution"] and ours["distribution"]) or _same(o, ours, "distribution")]
    if not kept:
        there = ", ".join(dict.fromkeys(other["distribution"] for other in left))
        return [], f"distribution {ours['distribution']} is not published (published: {there})"
    return kept, ""


def _beside(ours: Line, other: Line, task: str) -> Line:
    """Return what a published cell adds to the row of one of ours."""
    cell, theirs = ours["cells"][task], other["cells"][task]
    difference, half = cell.mean - theirs.mean, difference_interval(cell, theirs)
    return {
        "published_checkpoint": other["checkpoint"],
        "published": theirs.mean,
        "published_sd": theirs.sd,
        "published_n": theirs.n,
        "difference": difference,
        "half_width": half,
        "verdict": verdict(difference, half),
        "note": "; ".join([*_caveats(ours, other, task), *other["doubts"]]),
    }


def _caveats(ours: Line, other: Line, task: str) -> list[str]:
    """Return what is unlike between two cells that are compared."""
    notes = [
        f"{name} {ours[name] or 'none'} here, {other[name] or 'none'} published"
        for name in ("arch", "protocol", "probe")
        if not _same(ours, other, name)
    ]
    if ours["metrics"][task] != other["metrics"][task]:
        notes.append(f"metric {ours['metrics'][task]} here, {other['metrics'][task]} published")
    sizes = ours["sizes"][task], other["sizes"][task]
    if None not in sizes and sizes[0] != sizes[1]:
        notes.append(f"{sizes[0]} test images of {task} here, {sizes[1]} published: not the same data")
    if ours["checkpoint"] not in (other["checkpoint"], other["probably"]):
        notes.append(f"another checkpoint than the published {other['checkpoint']}")
    if task in ours["underfit"].split():
        notes.append("the head is underfit here: its training objective ended above its minimum")
    upstream = ours["upstream_top1"], other["upstream_top1"]
    if abs(upstream[0] - upstream[1]) >= _UPSTREAM:  # False where one is not known
        notes.append(f"upstream top-1 {100 * upstream[0]:.2f} here, {100 * upstream[1]:.2f} published")
    return notes


def _same(one: Line, other: Line, name: str) -> bool:
    return bool(one[name] == other[name])
