"""What entries are called in figures: short names that differ."""

from __future__ import annotations

from collections import Counter

from ..aggregate import Aggregate
from .series import build_series


def entry_names(statistics: Aggregate) -> dict[str, str]:
    """Return a name per checkpoint: its method and sparsity, ``AC/DC 90 %``; its id where two would share one."""
    names = {
        line["checkpoint"]: one.label if one.kind == "twin" else f"{one.label} {100 * line['sparsity']:.4g} %"
        for one in build_series(statistics)
        for line in one.lines
    }
    dense = [line["checkpoint"] for line in statistics.lines if line["method"] == "dense" and not line["twin_of"]]
    names |= dict.fromkeys(dense, "Dense")
    counts = Counter(names.values())
    return {checkpoint: name if counts[name] == 1 else checkpoint for checkpoint, name in names.items()}
