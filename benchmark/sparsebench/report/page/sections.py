"""A section per checkpoint: where it is from, what its layers hold, how it did on each task, and where it errs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ...registry.names import method_title
from ...schema import Checkpoint
from ..agreement import Row as Agreement
from ..cells import GROUP
from . import charts, texts
from .boards import Board
from .confused import Confused, Pair
from .exemplars import Gallery, Thumbnail
from .texts import VERDICTS, Number

if TYPE_CHECKING:
    import pandas as pd

    from .sources import Network, Sources


@dataclass(frozen=True)
class Fact:
    """What is known about a checkpoint; ``link`` is another part of the page, ``code`` says to set it as code."""

    label: str
    value: str
    link: str = ""
    code: bool = False


@dataclass(frozen=True)
class Link:
    """A name with the part of the page that is about it."""

    text: str
    anchor: str


@dataclass(frozen=True)
class Result:
    """An entry on a task: its mean, its single runs, the reference's mean, and how both agree."""

    task: str
    anchor: str
    accuracy: Number
    seeds: list[str]
    reference: str
    difference: str
    agreement: str
    exemplars: str
    numerics: tuple[Link, ...]


@dataclass(frozen=True)
class Results:
    """An entry's results on one board."""

    board: str
    anchor: str
    rank: str
    error: str
    results: list[Result]
    pairs: list[Pair]
    thumbnails: list[Thumbnail]

    @property
    def numerics(self) -> tuple[Link, ...]:
        """The numerics of all results, where they are the same for each; else none."""
        found = {result.numerics for result in self.results}
        return found.pop() if len(found) == 1 else ()

    @property
    def has_agreement(self) -> bool:
        """Whether predictions were kept, so that agreement is known."""
        return any(result.agreement for result in self.results)

    @property
    def has_exemplars(self) -> bool:
        """Whether there are several runs, so that exemplars are known."""
        return any(result.exemplars for result in self.results)

    @property
    def exemplars(self) -> int:
        """How many exemplars there are on all tasks."""
        return sum(int(result.exemplars or 0) for result in self.results)


@dataclass(frozen=True, eq=False)
class Section:
    """A checkpoint."""

    name: str
    anchor: str
    title: str
    key: str
    marker: str
    fill: str
    method: str
    sparsity: str
    facts: list[Fact]
    notes: str
    layers: Markup
    layer_rows: list[tuple[str, str, str]]
    results: list[Results]


def sections_of(sources: Sources, boards: Sequence[Board], gallery: Gallery) -> list[Section]:
    """Return a section for each entry of the boards, in the order of their names."""
    runs = {str(name): own for name, own in sources.runs.groupby("entry", sort=True)}
    agreement: dict[tuple[str, ...], Agreement] = {
        (*row.group, row.checkpoint, row.found.task): row for row in sources.agreement
    }  # by mode, probe, protocol, entry, task
    confused = Confused(sources)
    means = {
        tuple(row[name] for name in (*GROUP, "checkpoint", "task")): row["mean"]
        for row in sources.statistics.cells.to_dict("records")
    }
    lines = {tuple(line[name] for name in (*GROUP, "checkpoint")): line for line in sources.statistics.lines}
    found = []
    for name, own in runs.items():
        groups = [tuple(key) for key in own[list(GROUP)].drop_duplicates().itertuples(index=False, name=None)]
        look = next((row for board in boards for row in board.rows if row.anchor == texts.anchor("c", name)), None)
        if look is None:
            continue
        line = next(lines[*group, name] for group in groups if (*group, name) in lines)
        network = _network(sources, own)
        found.append(
            Section(
                name=texts.text(name),
                anchor=look.anchor,
                title=look.title,
                key=look.key,
                marker=look.marker,
                fill=look.fill,
                method=look.method,
                sparsity=look.sparsity.key,
                facts=_facts(line, own, sources.registry.checkpoints.get(name)),
                notes=_notes(sources.registry.checkpoints.get(name)),
                layers=_layers(name, network),
                layer_rows=[
                    (texts.text(layer.name), f"{layer.weights:,}", texts.percentage(layer.sparsity, 2).text)
                    for layer in (network.layers if network else ())
                ],
                results=[
                    _results(board, name, own, means, of_board, agreement, confused, gallery)
                    for board in boards
                    for key in [tuple(board.group[column] for column in GROUP)]
                    if key in groups and (of_board := lines.get((*key, name))) is not None
                ],
            )
        )
    return found


def _network(sources: Sources, own: pd.DataFrame) -> Network | None:
    for weights, mask in own[["weights_sha256", "mask_sha256"]].drop_duplicates().itertuples(index=False, name=None):
        if (found := sources.known.networks.get((texts.text(weights), texts.text(mask)))) is not None:
            return found
    return None


def _facts(line: Mapping[str, Any], own: pd.DataFrame, entry: Checkpoint | None) -> list[Fact]:
    """Return what is known about a checkpoint: labels of its runs first, then its registry entry."""
    scope = {"prunable": "of the prunable weights", "pruned_layers": "of the pruned layers' weights"}
    measured = texts.percentage(line["sparsity_measured"], 2).text
    reference, twin = texts.text(line["reference"]), texts.text(line["twin_of"])
    facts = [
        Fact("Method", texts.text(method_title(line["method"]))),
        Fact("Variant", texts.text(line["variant"]).replace("_", " ")),
        Fact("Architecture", texts.text(line["arch"])),
        Fact("Sparsity, nominal", f"{100 * line['sparsity']:.4g} %" if not math.isnan(line["sparsity"]) else ""),
        Fact(
            "Sparsity, measured",
            ""
            if measured == texts.NOTHING
            else f"{measured} % {scope.get(line['sparsity_scope'], 'of all parameters')}",
        ),
        Fact("Distribution", texts.text(line["nm"]) or texts.text(line["distribution"])),
        Fact("Compared with", reference, texts.anchor("c", reference) if reference else ""),
        Fact("Dense twin of", twin, texts.anchor("c", twin) if twin else ""),
        Fact("Upstream trainings", str(own["replicate"].fillna(0).nunique())),
    ]
    if line["verdict"]:
        facts.append(Fact("Verdict on bundles", f"{line['verdict']}: {VERDICTS.get(line['verdict'], '')}"))
    top1 = texts.percentage(line["upstream_top1"]).text
    upstream = entry.upstream if entry else None
    if top1 != texts.NOTHING:
        facts.append(Fact("Upstream top-1", f"{top1} %" + (f" on {texts.text(upstream.dataset)}" if upstream else "")))
    if entry is None:
        facts.append(Fact("Registry", "not registered here"))
    else:
        facts += [
            Fact("Licence", texts.text(entry.licence) or "not stated"),
            Fact("Source", texts.text(entry.source)),
            Fact("Fetched from", texts.text(entry.file.url), code=True),
            Fact("Made by", texts.text(entry.training.command) if entry.training else "", code=True),
            Fact("SHA-256 of the file", entry.file.sha256 or entry.file.sha256_prefix or "", code=True),
        ]
    for label, column in (("weights", "weights_sha256"), ("mask", "mask_sha256")):
        hashes = sorted(set(own[column].dropna()))
        facts.append(Fact(f"SHA-256 of the {label}", texts.text(" ".join(hashes)), code=True))
    return [fact for fact in facts if fact.value]


def _notes(entry: Checkpoint | None) -> str:
    return texts.text(" ".join(entry.notes.split())) if entry and entry.notes else ""


def _layers(name: str, network: Network | None) -> Markup:
    """Return the chart of sparsity by layer."""
    if network is None or not network.layers:
        return Markup("")
    name = f"Sparsity by layer of {texts.text(name)}, from input to output"
    return charts.layer_bars(name, [layer.sparsity for layer in network.layers])


def _results(
    board: Board,
    name: str,
    own: pd.DataFrame,
    means: Mapping[tuple[str, ...], float],
    line: Mapping[str, Any],
    agreement: Mapping[tuple[str, ...], Agreement],
    confused: Confused,
    gallery: Gallery,
) -> Results:
    """Return an entry's results on a board."""
    group = board.group
    mask = (own[list(GROUP)] == [group[column] for column in GROUP]).all(axis=1)
    row = next(row for row in board.rows if row.anchor == texts.anchor("c", name))
    reference = line["reference"]
    results, agreeing = [], []
    for task, runs in own[mask].groupby("task", sort=True):
        key = tuple(group[column] for column in GROUP)
        mean = means.get((*key, name, str(task)), math.nan)
        other = means.get((*key, reference, str(task)), math.nan) if reference else math.nan
        agrees = agreement.get((group["mode"], group["probe"], group["protocol"], name, str(task)))
        agreeing += [] if agrees is None else [agrees]
        results.append(
            Result(
                task=texts.text(task),
                anchor=texts.anchor("t", str(task)),
                accuracy=texts.percentage(mean, 2),
                seeds=list(_seeds(runs)),
                reference=texts.percentage(other, 2).text,
                difference=texts.change(mean - other, 2).text,
                agreement=_agreement(agrees),
                exemplars=_exemplars(agrees),
                numerics=tuple(
                    Link(texts.text(value), texts.anchor("n", value))
                    for value in sorted(set(runs["numerics"].dropna()))
                ),
            )
        )
    error = row.error.text + (f" ({row.interval})" if row.interval else "")
    pairs = confused.pairs(group, name, reference)
    return Results(board.name, board.anchor, row.rank.text, error, results, pairs, gallery.of(agreeing))


def _seeds(runs: pd.DataFrame) -> Iterable[str]:
    """Yield the accuracy of each run, by replicate and seed; a failed one is named."""
    ordered = runs.sort_values(["replicate", "seed"], kind="stable")
    for status, value in zip(ordered["status"], ordered["accuracy"], strict=True):
        yield texts.percentage(float(value)).text if status == "ok" and not math.isnan(value) else "failed"


def _agreement(row: Agreement | None) -> str:
    """Return on what share of the images a checkpoint and its reference predict the same class."""
    return "" if row is None else texts.percentage(row.found.between["agreement"].value).text


def _exemplars(row: Agreement | None) -> str:
    """Return how many images change their most frequent class; nothing where a side ran only once."""
    return "" if row is None or not row.found.populations.over else str(len(row.found.populations.exemplars))
