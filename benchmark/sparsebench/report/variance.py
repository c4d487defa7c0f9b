"""Where the variance of relative error increases is: heads, test images, upstream trainings and tasks, by method."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..analysis import pooled_sd
from ..registry.names import method_title
from .aggregate import Aggregate
from .cells import GROUP
from .style import group_title, method_order, percent
from .tables import NOTHING, Field, Table

SOURCES: tuple[tuple[str, str], ...] = (
    ("images", "test images"),
    ("seeds", "seed of the head"),
    ("replicates", "upstream training"),
    ("tasks", "task"),
)
"""The sources of variance, and what they are called."""

COLUMNS = (
    *GROUP, "checkpoint", "method", "sparsity", "sd_images", "sd_seeds", "sd_replicates", "sd_observed", "sd_both",
    "sd_tasks", "seeds", "replicates", "scope",
)  # fmt: skip
_NOTES = (
    "Standard deviation of the mean relative error increase, in points of percent, if one thing alone were drawn anew:"
    " the test images, one seed of the head per task, one upstream training of the network and its reference. Task: the"
    " standard deviation between tasks, without what images and seeds add to it.",
    "Of several entries of a method it is the root of the mean of their variances.",
    "An upstream training is seen only where an entry has several; then seeds are a part of it.",
)


@dataclass(frozen=True)
class Variance:
    """The standard deviations of one method in one group.

    Parameters
    ----------
    method : str
        The method.
    entries : int
        Entries with a relative error increase of their own.
    sds : mapping of str to float
        By source (:data:`SOURCES`); NaN for what single levels can't show.
    trained : tuple of (str, float, int)
        Entries with several upstream trainings: name, standard deviation between them as observed, and their number.
    """

    method: str
    entries: int
    sds: dict[str, float]
    trained: tuple[tuple[str, float, int], ...]


def variances(part: Aggregate) -> list[Variance]:
    """Return the standard deviations by method of one group; methods without kept predictions are left out."""
    by_method: dict[str, list[dict[str, Any]]] = {}
    for line in part.lines:
        if not math.isnan(line["sd_images"]):
            by_method.setdefault(line["method"], []).append(line)
    found = []
    for method, lines in sorted(by_method.items(), key=lambda item: method_order(item[0])):
        sds = {name: _root_mean_square([line[f"sd_{name}"] for line in lines]) for name, _ in SOURCES}
        found.append(Variance(method, len(lines), sds, tuple(_trained(lines))))
    return found


def _root_mean_square(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.sqrt(math.fsum(v**2 for v in known) / len(known)) if known else math.nan


def _trained(lines: Sequence[dict[str, Any]]) -> Iterator[tuple[str, float, int]]:
    for line in lines:
        if not math.isnan(line["sd_replicates"]):
            yield line["checkpoint"], line["sd_observed"], int(line["n_replicates"])


def trainings(part: Aggregate) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return the entries of a group with several upstream trainings, and their pooled standard deviation.

    The second is what :func:`sparsebench.analysis.pooled_sd` gives: its value, the ends of its 95 % interval, and the
    degrees of freedom.
    """
    found = [entry for own in variances(part) for entry in own.trained]
    return tuple(name for name, *_ in found), pooled_sd([sd for _, sd, _ in found], [n for *_, n in found])


def variance_csv(statistics: Aggregate) -> str:
    """Return one row per group and entry; standard deviations as fractions."""
    from ..store.csvfile import to_csv

    rows = []
    for group, part in statistics.groups():
        for line in part.lines:
            if math.isnan(line["sd_images"]):
                continue
            own = [None if math.isnan(line[c]) else round(line[c], 9) for c in COLUMNS if c.startswith("sd_")]
            counts = (line["seeds_max"], int(line["n_replicates"]))
            rows.append(
                (*group.values(), line["checkpoint"], line["method"], line["sparsity"], *own, *counts, line["scope"])
            )
    return to_csv(COLUMNS, rows)


def variance_tables(statistics: Aggregate) -> list[Table]:
    """Return one table per group that kept predictions, one row per method."""
    tables = []
    for group, part in statistics.groups():
        found = variances(part)
        if found:
            header = ("Method", "Entries", *(f"{words[0].upper()}{words[1:]}" for _, words in SOURCES))
            rows = tuple(
                tuple(map(Field, (method_title(v.method), str(v.entries), *(_text(v.sds[n]) for n, _ in SOURCES))))
                for v in found
            )
            title = f"Where the variance is: {group_title(group)}"
            tables.append(Table(title, header, rows, (*_NOTES, rests_on(part))))
    return tables


def rests_on(part: Aggregate) -> str:
    """Return in words what is known about upstream trainings in a group."""
    names, (sd, low, high, df) = trainings(part)
    if not names:
        return "No entry has a second upstream training, so what another training would change isn't known."
    entries = f"{len(names)} {'entry' if len(names) == 1 else 'entries'} ({', '.join(names)})"
    few = (
        " That is too few to know it within a factor of two, or to say how many trainings it takes to rank methods."
        if high > 2.0 * sd
        else ""
    )
    alike = ", as if they had no reference in common" if len(names) > 1 else ""
    return (
        "Between upstream trainings, with what seeds and images add to one:"
        f" {percent(sd, 1)} points [{percent(low, 1)}, {percent(high, 1)}], from {entries}"
        f" with {df:.0f} {'degree' if df == 1 else 'degrees'} of freedom{alike}.{few}"
    )


def _text(value: float) -> str:
    return NOTHING if math.isnan(value) else percent(value, 1)
