"""The classes that a checkpoint confuses most, beside how often its reference confuses them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...analysis.confused_pairs import most_confused
from . import texts

if TYPE_CHECKING:
    from ...store import Predictions
    from .sources import Sources

_MOST = 10
Cell = tuple[str, str, str, str]
"""Mode, probe, protocol and entry."""


@dataclass(frozen=True)
class Pair:
    """A class of a task that is taken for another: how often, in percent of the predictions for its images."""

    task: str
    true: str
    predicted: str
    share: str
    reference: str


class Confused:
    """Finds confused pairs; predictions are read once, and without any there are no pairs."""

    def __init__(self, sources: Sources) -> None:
        self._name = sources.class_name
        self._kept: dict[Cell, dict[str, list[Predictions]]] = {}
        if sources.predictions is None:
            return
        runs = sources.runs[(sources.runs["status"] == "ok") & sources.runs["record_key"].notna()]
        columns = ["mode", "probe", "protocol", "entry", "task"]
        keys = runs["record_key"].tolist()
        cells = dict(zip(keys, runs[columns].astype(str).itertuples(index=False, name=None), strict=True))
        for key, kept in sorted(sources.predictions(set(cells)), key=lambda item: item[0]):
            *cell, task = cells[key]
            mode, probe, protocol, entry = cell
            self._kept.setdefault((mode, probe, protocol, entry), {}).setdefault(task, []).append(kept)

    def pairs(self, group: Mapping[str, str], name: str, reference: str) -> list[Pair]:
        """Return the ten pairs that the largest share of a class's images falls to, over the tasks of a group."""
        own = self._kept.get((group["mode"], group["probe"], group["protocol"], name), {})
        other = self._kept.get((group["mode"], group["probe"], group["protocol"], reference), {})
        found = []
        for task, kept in own.items():
            for pair in most_confused(kept[0].labels, (_aligned(kept[0], one) for one in kept), _MOST):
                share = _share(other.get(task, []), pair.true, pair.predicted)
                true, predicted = (self._name(task, number) for number in (pair.true, pair.predicted))
                shown = Pair(texts.text(task), true, predicted, texts.percentage(pair.share).text,
                             "" if math.isnan(share) else texts.percentage(share).text)  # fmt: skip
                found.append((-pair.share, task, pair.true, pair.predicted, shown))
        return [shown for *_, shown in sorted(found, key=lambda item: item[:4])[:_MOST]]


def _aligned(first: Predictions, kept: Predictions) -> np.ndarray:
    """Return predicted classes in the first run's order of images."""
    if kept.ids == first.ids:
        return kept.predicted
    places = {image: at for at, image in enumerate(kept.ids)}
    return kept.predicted[[places[image] for image in first.ids]]


def _share(kept: list[Predictions], true: int, predicted: int) -> float:
    rows = [one.predicted[one.labels == true] == predicted for one in kept]
    return float(np.mean(np.concatenate(rows))) if rows else math.nan
