"""Boards: the entries of one group (mode, probe, protocol, suite, architecture) with ranks, intervals and charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ...registry.names import method_title
from ..aggregate import Aggregate
from ..cells import GROUP
from ..figures.series import Axis as SparsityAxis
from ..figures.series import Series, build_series
from ..leaderboard import group_order
from ..overview import entry_title
from ..style import DENSE_COLOUR, UNDERFIT_CAPTION, method_order, metric_sentence, sentences
from ..tables import sparsity_text
from . import charts, texts
from .matrix import WinRates, matrix_svg, top_entries, win_rates_of
from .palette import Palette
from .svg import Scale
from .texts import Number

if TYPE_CHECKING:
    from .sources import Sources

Line = dict[str, Any]
_LABEL = 34.0  # pixels that a sparsity takes on its axis


@dataclass(frozen=True)
class Cell:
    """An entry's accuracy on a task."""

    accuracy: Number
    spread: str


@dataclass(frozen=True, eq=False)
class Row:
    """An entry on its board."""

    at: int
    name: str
    anchor: str
    title: str
    method: str
    method_title: str
    key: str
    marker: str
    fill: str
    sparsity: Number
    rank: Number
    tied: bool
    error: Number
    interval: str
    bar: Markup
    accuracy: Number
    upstream: Number
    size: Number
    speed: Number
    engine: str
    cells: list[Cell]
    verdict: str
    note: str


@dataclass(frozen=True)
class Look:
    """How an entry is drawn (``fill``: solid, ``pale`` or ``hollow``), and what the legend calls it."""

    series: str
    key: str
    marker: str
    fill: str


@dataclass(frozen=True, eq=False)
class Board:
    """A group's leaderboard and charts."""

    anchor: str
    group: Mapping[str, str]
    name: str
    protocol: str
    suite: str
    tasks: list[str]
    rows: list[Row]
    references: list[str]
    tied: int
    ranked: int
    scopes: list[str]
    axis: Markup
    plots: list[tuple[str, Markup]]
    wins: WinRates | None
    matrix: Markup
    legend: list[Look]
    note: str

    @property
    def best_wins(self) -> list[tuple[str, float]]:
        """The entries with the highest mean win rates, as (name, percent)."""
        return [] if self.wins is None else top_entries(self.wins)

    @property
    def has_notes(self) -> bool:
        """Whether there is something to note about single entries."""
        return len({row.note for row in self.rows}) > 1

    @property
    def has_verdicts(self) -> bool:
        """Whether any entry's runs are from bundles."""
        return any(row.verdict for row in self.rows)

    @property
    def has_size(self) -> bool:
        """Whether the size of any entry is known."""
        return any(row.size.sort is not None for row in self.rows)

    @property
    def has_speed(self) -> bool:
        """Whether the speed of any entry was measured."""
        return any(row.speed.sort is not None for row in self.rows)


@dataclass(frozen=True)
class Speed:
    """An entry's fastest engine, and its size."""

    images_per_second: float = math.nan
    packed_bytes: float = math.nan
    engine: str = ""


def boards_of(sources: Sources, palette: Palette) -> list[Board]:
    """Return the boards, in the leaderboard's order."""
    speeds = speeds_of(sources)
    looks = _looks(build_series(sources.statistics), sources.statistics.lines, palette)
    groups = sorted(sources.statistics.groups(), key=lambda item: group_order(item[0]))
    return [_board(group, part, speeds, looks) for group, part in groups]


def speeds_of(sources: Sources) -> dict[str, Speed]:
    """Return what was measured of each entry, on the first device of the measurements, and sizes known otherwise."""
    found: dict[str, Speed] = {}
    columns = ["entry", "weights_sha256", "mask_sha256"]
    for entry, weights, mask in sources.runs[columns].drop_duplicates().itertuples(index=False, name=None):
        network = sources.known.networks.get((texts.text(weights), texts.text(mask)))
        if network is not None and network.packed_bytes is not None:
            found.setdefault(str(entry), Speed(packed_bytes=float(network.packed_bytes)))
    if sources.bench is not None and len(sources.bench):
        first = sources.bench["device"].iloc[0]
        own = sources.bench[sources.bench["device"] == first].sort_values("images_per_second", kind="stable")
        for row in own.to_dict("records"):  # the fastest comes last
            found[str(row["checkpoint"])] = Speed(
                float(row["images_per_second"]), float(row["packed_bytes"]), texts.text(row["engine"])
            )
    return found


def _looks(series: Sequence[Series], lines: Sequence[Line], palette: Palette) -> dict[str, Look]:
    """Return how each entry is drawn; a dense reference is in no series."""
    found = {line["checkpoint"]: Look("Dense", palette.key(DENSE_COLOUR), "o", "") for line in lines}
    for own in series:
        look = Look(own.label, palette.key(own.colour), own.marker, _fill(own))
        found |= {line["checkpoint"]: look for line in own.lines}
    return found


def _fill(series: Series) -> str:
    """Return the class of the fill of a series' markers, which tells variants of a method apart."""
    if series.fill == series.colour:
        return ""
    return "hollow" if series.fill in ("white", "#ffffff") else "pale"


def _board(group: dict[str, str], part: Aggregate, speeds: Mapping[str, Speed], looks: Mapping[str, Look]) -> Board:
    lines, tasks = part.lines, part.tasks
    bars = charts.IntervalBars.of(
        [(line["relative_error"], line["relative_error_low"], line["relative_error_high"]) for line in lines]
    )
    rows = [_row(at, line, part, speeds, looks[line["checkpoint"]], bars) for at, line in enumerate(lines)]
    name = texts.group_name(group)
    wins = win_rates_of(part)
    scopes = sorted({line["scope"] for line in lines if line["scope"] and not math.isnan(line["relative_error_low"])})
    ranked = [int(line["ranked"]) for line in lines if line["ranked"] is not None and not math.isnan(line["ranked"])]
    return Board(
        anchor=texts.anchor("b", "-".join(group[column] for column in GROUP if group[column])),
        group={column: texts.text(group[column]) for column in GROUP},
        name=name,
        protocol=texts.text(group["protocol"]),
        suite=texts.text(group["suite"]),
        tasks=[texts.text(task) for task in tasks],
        rows=rows,
        references=sorted({texts.text(line["reference"]) for line in lines} - {""}),
        tied=sum(row.tied for row in rows),
        ranked=max(ranked, default=0),
        scopes=scopes,
        axis=bars.axis(),
        plots=_plots(name, lines, rows, looks),
        wins=wins,
        matrix=Markup("") if wins is None else matrix_svg(f"Win rates, {name}", wins),
        legend=list(dict.fromkeys(looks[line["checkpoint"]] for line in sorted(lines, key=_by_method))),
        note=_note(part, rows),
    )


def _note(part: Aggregate, rows: Sequence[Row]) -> str:
    """Return what is to be said of a board as a whole."""
    notes = {row.note for row in rows}
    return sentences(
        metric_sentence(part.per_class_tasks),
        f"All entries: {texts.text(rows[0].note)}." if len(notes) == 1 and rows[0].note else "",
        UNDERFIT_CAPTION if any(line["underfit"] for line in part.lines) else "",
    )


def _by_method(line: Line) -> tuple[Any, ...]:
    return method_order(line["method"]), bool(line["twin_of"]), line["variant"], bool(line["nm"])


def _row(
    at: int, line: Line, part: Aggregate, speeds: Mapping[str, Speed], look: Look, bars: charts.IntervalBars
) -> Row:
    name = line["checkpoint"]
    speed = speeds.get(name, Speed())
    low, high = line["relative_error_low"], line["relative_error_high"]
    return Row(
        at=at,
        name=texts.text(name),
        anchor=texts.anchor("c", name),
        title=texts.text(entry_title(line)),
        method=texts.text(line["method"]),
        method_title=texts.text(method_title(line["method"])),
        key=look.key,
        marker=look.marker,
        fill=look.fill,
        sparsity=Number(sparsity_text(line), line["sparsity"]),
        rank=_rank(line, at),
        tied=line["rank_low"] == 1,
        error=texts.change(line["relative_error"]),
        interval=texts.interval(low, high),
        bar=bars.bar(line["relative_error"], low, high, look.key),
        accuracy=texts.percentage(line["mean_accuracy"]),
        upstream=texts.percentage(line["upstream_top1"]),
        size=texts.quantity(speed.packed_bytes, 1e6),
        speed=texts.quantity(speed.images_per_second),
        engine=speed.engine,
        cells=[_cell(part, name, task) for task in part.tasks],
        verdict=texts.text(line["verdict"]),
        note=texts.text(line["note"]),
    )


def _rank(line: Line, at: int) -> Number:
    """Return an entry's rank interval, sorted by its place on the board."""
    low, high = line["rank_low"], line["rank_high"]
    if low is None or math.isnan(low):
        return Number(texts.NOTHING, float(at + 1))
    return Number(f"{int(low)}" if low == high else f"{int(low)}–{int(high)}", float(at + 1))


def _cell(part: Aggregate, name: str, task: str) -> Cell:
    found = part.cell(name, task)
    if found is None:
        return Cell(Number(texts.NOTHING, None), "")
    return Cell(texts.percentage(found.mean), "" if math.isnan(found.sd) else texts.percentage(found.sd).text)


def _plots(
    name: str, lines: Sequence[Line], rows: Sequence[Row], looks: Mapping[str, Look]
) -> list[tuple[str, Markup]]:
    """Return the charts of accuracy over sparsity, measured speed and size, each with its caption."""
    axis = SparsityAxis.of(line["sparsity"] for line in lines)

    def marks(values: Sequence[float | None]) -> list[charts.Mark]:
        own = zip(lines, rows, values, strict=True)
        return [
            charts.Mark(
                row.at, value, 100 * line["mean_accuracy"], row.key, row.marker, looks[row_name].series, row.fill
            )
            for line, row, value in own
            if value is not None and not math.isnan(line["mean_accuracy"])
            for row_name in [line["checkpoint"]]
        ]

    title = "Mean accuracy, %"
    found = []
    if over := marks([axis.at(line["sparsity"]) for line in lines]):
        x = sparsity_axis(axis)
        plot = charts.scatter(f"Mean accuracy over sparsity, {name}", over, x, title, better="right", lines=True)
        found.append(("Accuracy over sparsity", plot))
    for what, unit, values, better in (
        ("measured speed", "Images per second, fastest engine", [row.speed.sort for row in rows], "right"),
        ("size", "Packed size of the backbone, MB", [row.size.sort for row in rows], "left"),
    ):
        if over := marks([v / (1e6 if what == "size" else 1.0) if v else None for v in values]):
            own = [mark.x for mark in over]
            x = charts.Axis.of(unit, own, log=max(own) > 3 * min(own))
            plot = charts.scatter(f"Mean accuracy over {what}, {name}", over, x, title, better=better)
            found.append((f"Accuracy over {what}", plot))
    return found


def sparsity_axis(axis: SparsityAxis) -> charts.Axis:
    """Return the axis of sparsities as charts draw it."""
    low, high = axis.limits
    scale = Scale(low, high, *charts.PLOT)
    labels = axis.labels(_LABEL * (high - low) / (charts.PLOT[1] - charts.PLOT[0]))
    return charts.Axis("Sparsity, %", scale, tuple(sorted(labels.items())))
