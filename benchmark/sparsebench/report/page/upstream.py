"""The checkpoints' own heads on their own tasks: what was published beside what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..own_task import MODE, OwnTask
from . import texts
from .texts import Number

if TYPE_CHECKING:
    from collections.abc import Collection

    from ...analysis.intervals import Interval
    from .sources import Sources


@dataclass(frozen=True)
class OwnHead:
    """A checkpoint's own head; ``anchor`` is empty where the page has no section on the checkpoint."""

    name: str
    anchor: str
    sparsity: str
    claimed: str
    measured: Number
    interval: str
    difference: str
    top5: str
    claim: str
    agreement: str


@dataclass(frozen=True)
class OwnTaskTable:
    """The own heads on one task; ``images`` says on how many images they were measured."""

    task: str
    images: str
    rows: list[OwnHead]

    @property
    def has_agreement(self) -> bool:
        """Whether any checkpoint's predictions are known beside its reference's."""
        return any(row.agreement for row in self.rows)


def upstream_of(sources: Sources, entries: Collection[str]) -> list[OwnTaskTable]:
    """Return a table per own task; ``entries`` are the checkpoints that have a section."""
    agreement = {
        (row.checkpoint, row.found.task): row.found.between["agreement"]
        for row in sources.agreement
        if row.group[0] == MODE
    } or sources.known.own_agreement
    tables = []
    for task in dict.fromkeys(row.task for row in sources.own_tasks):
        own = [row for row in sources.own_tasks if row.task == task]
        rows = [_head(row, entries, agreement.get((row.checkpoint, task))) for row in own]
        tables.append(OwnTaskTable(texts.text(task), _images(own), rows))
    return tables


def _images(own: list[OwnTask]) -> str:
    sizes = sorted({(row.images, row.published or row.images) for row in own})
    return " and ".join(f"{n:,}" if n == whole else f"{n:,} of {whole:,}" for n, whole in sizes)


def _head(row: OwnTask, entries: Collection[str], agrees: Interval | None) -> OwnHead:
    return OwnHead(
        name=texts.text(row.checkpoint),
        anchor=texts.anchor("c", row.checkpoint) if row.checkpoint in entries else "",
        sparsity="" if math.isnan(row.sparsity) else f"{100 * row.sparsity:.4g}",
        claimed=texts.percentage(row.claimed, 2).text,
        measured=texts.percentage(row.top1, 2),
        interval=f"{texts.percentage(row.low, 2).text} to {texts.percentage(row.high, 2).text}",
        difference=texts.change(row.difference, 2).text,
        top5=texts.percentage(row.top5, 2).text,
        claim=row.claim,
        agreement="" if agrees is None else _shown(agrees),
    )


def _shown(value: Interval) -> str:
    text = texts.percentage(value.value).text
    if math.isnan(value.low):
        return text
    return f"{text} ({texts.percentage(value.low).text} to {texts.percentage(value.high).text})"
