"""How numbers and names are written on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...common.filenames import safe_name
from ...schema.text import printable
from ..style import percent, signed_percent

NOTHING = "–"
MODES: Mapping[str, str] = {"linear": "Linear", "full": "Full finetuning", "upstream": "Upstream"}
VERDICTS: Mapping[str, str] = {
    "claimed": "nothing contradicts the records",
    "rescored": "scores follow from the predictions and the known labels",
    "rerun": "a random sample of the runs was run again and agrees",
}
"""What is known of runs that came in bundles."""


@dataclass(frozen=True)
class Number:
    """A number as text, and what it is sorted by; None sorts last."""

    text: str
    sort: float | None

    @property
    def key(self) -> str:
        """The value that the page sorts by, as text."""
        return "" if self.sort is None else f"{self.sort:.6g}"


def percentage(value: float, digits: int = 1) -> Number:
    """Return a fraction in percent; a dash for NaN."""
    return Number(NOTHING, None) if math.isnan(value) else Number(percent(value, digits), value)


def change(value: float, digits: int = 1) -> Number:
    """Return a fraction in percent with its sign; a dash for NaN."""
    return Number(NOTHING, None) if math.isnan(value) else Number(signed_percent(value, digits), value)


def interval(low: float, high: float) -> str:
    """Return the ends of an interval in percent, or nothing where there is none."""
    if math.isnan(low) or low == high:
        return ""
    return f"{signed_percent(low, 1)} to {signed_percent(high, 1)}"


def quantity(value: float, unit: float = 1.0) -> Number:
    """Return a measured quantity with three significant digits, in multiples of a unit; a dash for NaN."""
    if math.isnan(value):
        return Number(NOTHING, None)
    shown = value / unit
    digits = max(0, 2 - math.floor(math.log10(abs(shown)))) if shown else 0
    return Number(f"{shown:,.{digits}f}" if shown < 1000 else f"{shown:,.0f}", value)


def anchor(kind: str, name: str) -> str:
    """Return the id of a part of the page, such as ``c-mini.acdc_s90``."""
    return f"{kind}-{safe_name(name)}"


def text(value: Any) -> str:
    """Return a text from a record or the registry on one line, without control characters; empty for none."""
    return printable(value) if isinstance(value, str) else ""


def group_name(group: Mapping[str, str]) -> str:
    """Return what a group is called in a heading, for example ``Linear, sgd probe · resnet50``."""
    mode = MODES.get(group["mode"], group["mode"])
    return printable(f"{mode}, {group['probe']} probe" if group["probe"] else mode) + printable(
        f" · {group['arch']}" if group["arch"] else ""
    )
