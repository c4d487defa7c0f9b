"""Measures beyond accuracy as JSON: a number by measure and task, with its interval and its noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..analysis.intervals import Interval
from .measures import NO_LOGITS, OF_CLASSES, OF_LOGITS, OF_ONE, SCALED, TaskMeasures
from .populations import Populations

COUNTS = ("forgotten", "gained")
MOST_CLASSES = 100
"""Classes up to which the confusion is given."""


def to_json(names: tuple[str, str], found: Sequence[TaskMeasures]) -> dict[str, Any]:
    """Return the document: fractions and nats, ``forgotten`` and ``gained`` in images; null for what isn't known.

    Parameters
    ----------
    names : tuple of str
        Both checkpoints.
    found : sequence of TaskMeasures
        By task.
    """
    missing = [task.task for task in found if not task.has_logits]
    return {
        "a": names[0],
        "b": names[1],
        "tasks": {task.task: _of_task(task) for task in found},
        "missing": dict.fromkeys(missing, NO_LOGITS),
    }


def _of_task(task: TaskMeasures) -> dict[str, Any]:
    own: dict[str, Any] = {"n": task.n, "pairs": task.pairs, "scope": task.between["agreement"].covers}
    intervals: dict[str, Any] = {}
    for name in (*OF_CLASSES, *OF_LOGITS):
        scale = task.n if name in COUNTS else 1
        value = task.between.get(name)
        own[name] = None if value is None else _number(scale * value.value)
        intervals[name] = _ends(value, scale)
    own["churn"] = 1.0 - own["agreement"]
    for name in (*OF_ONE, *SCALED):
        sides = {"a": task.first, "b": task.second, "difference": task.difference}
        own[name] = {side: _number(values[name].value) for side, values in sides.items()} if task.has_logits else None
        intervals[name] = {side: _ends(values.get(name)) for side, values in sides.items()} if task.has_logits else None
    own["temperature"] = dict(zip("ab", map(_number, task.temperatures), strict=True)) if task.has_logits else None
    own["temperature_fitted_on"] = list(task.fitted_on) if task.has_logits else None
    own["intervals"] = intervals
    own["noise"] = {
        source: {name: _number(value * (task.n if name in COUNTS else 1)) for name, value in values.items()}
        for source, values in task.noise.items()
    }
    own["classes"] = [
        {"class": row.label, "n": row.n, "recall_a": row.recall, "recall_b": row.reference, "p": row.p,
         "holm_p": row.holm_p, "changed": row.changed}
        for row in task.classes
    ]  # fmt: skip
    own |= _of_populations(task.populations)
    return own


def _of_populations(found: Populations) -> dict[str, Any]:
    own: dict[str, Any] = {"exemplars": None, "class_impact": None}
    if found.over:
        images = [{"id": e.image, "class": e.label, "a": e.first, "b": e.second} for e in found.exemplars]
        own["exemplars"] = {"images": len(images), "over": found.over, "noise": found.noise, "list": images}
        own["class_impact"] = [
            {"class": c.label, "a": c.first, "b": c.second, "holm_p": c.p, "changed": c.changed} for c in found.impacts
        ]
    few = all(len(matrix) <= MOST_CLASSES for matrix in found.confusions)
    sides = zip("ab", found.confusions, strict=False)
    own["confusion"] = {side: matrix.round(6).tolist() for side, matrix in sides} if few and found.confusions else None
    return own


def _ends(value: Interval | None, scale: int = 1) -> list[float | None] | None:
    return None if value is None else [_number(scale * value.low), _number(scale * value.high)]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
