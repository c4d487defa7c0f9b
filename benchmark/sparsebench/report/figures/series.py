"""What the figures draw: which checkpoints form one line, in which order, and where a sparsity is on the axis."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ...registry.names import method_title, variant_title
from ..aggregate import Aggregate
from ..style import method_colour, method_marker, method_order, variant_fill, variant_stroke

Line = dict[str, Any]


@dataclass(frozen=True)
class Series:
    """Checkpoints of one method (and variant) over sparsity, or single ones of an N:M pattern or a dense twin."""

    label: str
    colour: str
    fill: str  # of the markers
    marker: str
    stroke: str
    kind: str  # sparse, nm or twin
    lines: tuple[Line, ...] = field(repr=False, compare=False)

    @property
    def line_style(self) -> str:
        """How its points are joined: not at all where they are single ones."""
        return self.stroke if self.kind == "sparse" else "none"

    @property
    def marker_size(self) -> float:
        """In points."""
        return 7.0 if self.kind == "nm" else 4.5


def build_series(statistics: Aggregate) -> list[Series]:
    """Return the series of a results table, the same for all its groups, so that panels share one legend.

    Sparse checkpoints are joined by method and variant; where that puts two at one sparsity in a group, by distribution
    too, and at last each stands alone under its id. N:M patterns and dense twins are apart; a dense reference is none.
    """
    lines = statistics.lines
    sparse = [line for line in lines if line["method"] != "dense" and not line["nm"]]
    names = _series_names(sparse)
    found: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        if line["method"] != "dense":
            kind = "nm" if line["nm"] else "sparse"
            name = _join(line, ("variant", "nm")) if line["nm"] else names[line["checkpoint"]]
            found.setdefault((kind, line["method"], name), []).append(line)
        elif line["twin_of"]:
            method = _method_of(line["twin_of"], lines)
            found.setdefault(("twin", method, ""), []).append(line)
    keys = sorted(found, key=lambda k: (("sparse", "nm", "twin").index(k[0]), method_order(k[1]), k[2]))
    return [_make(key, found[key], [k for k in keys if k[:2] == key[:2]].index(key)) for key in keys]


@dataclass(frozen=True)
class Axis:
    """Positions of sparsities: the logarithm of the density (a unit is a halving), zero a unit left of the least."""

    levels: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Axis:
        """Make the axis for the sparsities that occur."""
        return cls(tuple(sorted({round(v, 4) for v in values})))

    def at(self, sparsity: float) -> float:
        """Return where a sparsity is."""
        if sparsity > 0:
            return -math.log2(1.0 - sparsity)
        least = min((s for s in self.levels if s > 0), default=0.5)
        return -math.log2(1.0 - least) - 1.0

    @property
    def positions(self) -> list[float]:
        """The levels' positions."""
        return [self.at(level) for level in self.levels]

    @property
    def limits(self) -> tuple[float, float]:
        """Where the axis begins and ends."""
        places = self.positions or [0.0]
        return min(places) - 0.5, max(places) + 0.5

    @property
    def room(self) -> float:
        """The least distance of two levels, at most one unit."""
        places = self.positions
        return min([1.0, *(b - a for a, b in pairwise(places))])

    def labels(self, least: float) -> dict[float, str]:
        """Return position to text, from the sparsest level down, passing over any nearer than ``least`` to another."""
        chosen: dict[float, str] = {}
        for level, place in sorted(zip(self.levels, self.positions, strict=True), reverse=True):
            if all(abs(place - other) >= least for other in chosen):
                chosen[place] = f"{100 * level:.4g}"
        return chosen


def _series_names(lines: list[Line]) -> dict[str, str]:
    """Return, by checkpoint, what distinguishes its series from others of its method."""
    for parts in (("variant",), ("variant", "distribution"), ("checkpoint",)):
        names = {line["checkpoint"]: _join(line, parts) for line in lines}
        places = Counter(
            (_group(line), line["method"], names[line["checkpoint"]], round(line["sparsity"], 4)) for line in lines
        )
        if max(places.values(), default=0) <= 1:
            return names
    return names


def _group(line: Line) -> tuple[str, ...]:
    return tuple(line[name] for name in ("suite", "arch", "mode", "probe", "protocol"))


def _method_of(checkpoint: str, lines: list[Line]) -> str:
    """Return the method of a twin's sparse entry, which is in the table or else in the entry's own name."""
    for line in lines:
        if line["checkpoint"] == checkpoint:
            return str(line["method"])
    return checkpoint.partition(".")[2].partition("_")[0] or checkpoint


def _make(key: tuple[str, str, str], lines: list[Line], index: int) -> Series:
    kind, method, name = key
    label = f"{method_title(method)} {name}".strip() if name not in {line["checkpoint"] for line in lines} else name
    if kind == "twin":
        label = f"{label}, dense twin"
    marker = "*" if kind == "nm" else method_marker(method)
    ordered = sorted(lines, key=lambda line: (line["sparsity"], line["checkpoint"]))
    colour = method_colour(method)
    fill = "white" if kind == "twin" else variant_fill(colour, index)
    return Series(label, colour, fill, marker, variant_stroke(index), kind, tuple(ordered))


def _join(line: Line, parts: tuple[str, ...]) -> str:
    texts = (variant_title(line[p]) if p == "variant" else str(line[p]) for p in parts)
    return " ".join(text for text in texts if text)
