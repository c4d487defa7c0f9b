"""What is behind the numbers: how runs were computed, with which versions, under which protocols."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import texts

if TYPE_CHECKING:
    import pandas as pd

    from .sources import Sources

_WAY = ("numerics", "device", "precision", "engine", "threads")


@dataclass(frozen=True)
class Way:
    """A way in which runs were computed, and what else their numbers may depend on."""

    numerics: str
    anchor: str
    device: str
    precision: str
    engine: str
    threads: str
    runs: int
    environments: list[tuple[str, int]]


@dataclass(frozen=True)
class Used:
    """A protocol of the results: its hyperparameters by name, and the hashes under which runs recorded it."""

    name: str
    runs: int
    settings: str
    hashes: str


def ways_of(sources: Sources) -> list[Way]:
    """Return the ways in which the runs were computed, commonest first."""
    runs = sources.runs
    texts_of = runs[list(_WAY)].astype("string").fillna("")
    ways = []
    for key, rows in runs.groupby([texts_of[name] for name in _WAY], sort=True):
        numerics, device, precision, engine, threads = map(texts.text, key)
        ways.append(
            Way(numerics, texts.anchor("n", numerics or "unknown"), device, precision, engine, threads, len(rows),
                _environments(rows, sources.known.environments))
        )  # fmt: skip
    return sorted(ways, key=lambda way: -way.runs)


def _environments(rows: pd.DataFrame, known: Mapping[str, Mapping[str, str]]) -> list[tuple[str, int]]:
    """Return the environments of runs as text, with how many runs each has."""
    counts: dict[str, int] = {}
    for key in rows["record_key"].dropna():
        own = known.get(key)
        if own:
            shown = ", ".join(f"{texts.text(name)} {texts.text(value)}" for name, value in sorted(own.items()))
            counts[shown] = counts.get(shown, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def protocols_of(sources: Sources) -> list[Used]:
    """Return the protocols of the results."""
    found = []
    for name, rows in sources.runs.groupby("protocol", sort=True):
        known: Any = sources.registry.protocols.get(str(name).partition("@")[0])
        settings = known.resolved() if known is not None else {}
        shown = ", ".join(f"{key} {_plain(value)}" for key, value in settings.items() if value is not None)
        hashes = " ".join(sorted({value[:12] for value in rows["protocol_sha256"].dropna()}))
        found.append(Used(texts.text(str(name)), len(rows), texts.text(shown), texts.text(hashes)))
    return found


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
