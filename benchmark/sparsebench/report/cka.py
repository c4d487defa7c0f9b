"""Linear CKA of two backbones' features as text and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

_FIELDS = ("task", "stage", "n", "cka", "chance", "replicates_a", "replicates_b")


class Alike(Protocol):
    """What :class:`sparsebench.api.similarity.Similarity` has."""

    @property
    def task(self) -> str:
        """The task."""

    @property
    def stage(self) -> str:
        """The stage of the backbones."""

    @property
    def n(self) -> int:
        """Test images."""

    @property
    def cka(self) -> float:
        """CKA of both."""

    @property
    def chance(self) -> float:
        """The same with shuffled images."""

    @property
    def replicates_a(self) -> float:
        """CKA of two trainings of A."""

    @property
    def replicates_b(self) -> float:
        """CKA of two trainings of B."""


def cka_json(found: Sequence[Alike]) -> list[dict[str, Any]]:
    """Return one object per task and stage; null for what isn't known."""
    rows = [{name: getattr(one, name) for name in _FIELDS} for one in found]
    return [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]


def cka_lines(names: tuple[str, str], found: Sequence[Alike]) -> list[str]:
    """Return the numbers in words, a block per task."""
    text = ["", f"Linear CKA of the features of {names[0]} (A) and {names[1]} (B), by stage"]
    for task in dict.fromkeys(one.task for one in found):
        own = [one for one in found if one.task == task]
        text.append(f"{task}: {own[0].n} images")
        for one in own:
            noise = [f"{one.chance:.3f} by chance"]
            pairs = (("A", one.replicates_a), ("B", one.replicates_b))
            noise += [f"{value:.3f} between two trainings of {x}" for x, value in pairs if not math.isnan(value)]
            text.append(f"  {one.stage:21} {one.cka:.3f}   noise {', '.join(noise)}")
    return text
