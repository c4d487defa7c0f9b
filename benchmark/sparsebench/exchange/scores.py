"""Scores recomputed from predictions, and predictions compared with the labels of a split."""

from __future__ import annotations

from collections.abc import Iterator

from ..analysis.metrics import mean_per_class, top1
from ..schema import RunRecord
from ..store.predictions import Predictions
from .splits import TestSplit

_EXACT = 1e-9


def contradictions(record: RunRecord, kept: Predictions) -> Iterator[tuple[str, str]]:
    """Yield what contradicts a finished record's scores in its predictions: the check, and what is wrong.

    A few-shot probe's scores are means over draws of which one has predictions: they can't be recomputed.
    """
    scores = record.scores
    if scores is None:
        return
    classes = scores.n_classes
    if len(kept.ids) != scores.n_test:
        yield "score", f"has predictions of {len(kept.ids)} images, its record says {scores.n_test}"
        return
    if len(set(kept.ids)) != len(kept.ids):
        yield "duplicate", "has predictions of one image twice"
    for name, values in (("labels", kept.labels), ("predicted classes", kept.predicted)):
        if values.min() < 0 or values.max() >= classes:
            yield "labels", f"has {name} that are none of its {classes} classes"
            return
    if not scores.few_shot:
        for name, now in (
            ("top1", top1(kept.predicted, kept.labels)),
            ("mean_per_class", mean_per_class(kept.predicted, kept.labels, classes)),
        ):
            if abs(getattr(scores, name) - now) > _EXACT:
                yield "score", f"says {name} {getattr(scores, name)}, its predictions give {now}"
    yield from _logits(kept, classes)


def _logits(kept: Predictions, classes: int) -> Iterator[tuple[str, str]]:
    """Compare logits with the predicted classes: rounding to half precision keeps the largest one largest."""
    logits = kept.logits
    if logits is None:
        return
    if logits.shape[1] != classes:
        yield "logits", f"has logits of {logits.shape[1]} classes, its record says {classes}"
        return
    chosen = logits[range(len(logits)), kept.predicted]
    wrong = int((chosen < logits.max(axis=1)).sum())
    if wrong:
        yield "logits", f"has {wrong} images whose predicted class hasn't the largest logit"


def other_labels(kept: Predictions, test: TestSplit) -> str | None:
    """Return in what predictions differ from a split's test images, in words; None if they are of these."""
    if kept.ids != test.ids:
        other = next((a for a, b in zip(kept.ids, test.ids, strict=False) if a != b), "their number")
        return f"has predictions of other images than the split: {other!r}"
    wrong = int((kept.labels != test.labels).sum())
    return f"has {wrong} labels that are not the split's" if wrong else None


def can_be_rescored(record: RunRecord) -> bool:
    """Return whether a finished record's headline follows from its predictions."""
    return record.scores is not None and not record.scores.few_shot
