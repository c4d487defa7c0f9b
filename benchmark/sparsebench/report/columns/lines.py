"""Columns that repeat what a checkpoint's line of the summary holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...extensions import LeaderboardColumn


def of_line(name: str, summary: str, place: int, *, sparse: bool = False) -> LeaderboardColumn:
    """Return the column of a field of :data:`sparsebench.report.aggregate.SUMMARY_COLUMNS`."""

    def value(line: Mapping[str, Any], part: object) -> Any:
        return line[name]

    return LeaderboardColumn(name=name, summary=summary, value=value, place=place, always=True, sparse=sparse)
