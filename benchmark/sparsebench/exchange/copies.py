"""Runs that are copies of others: the same predictions and training loss, to the last digit, under another name."""

from __future__ import annotations

import hashlib

from ..schema import RunRecord
from ..store.predictions import Predictions


class Copies:
    """Remembers runs by what they computed."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[str, str]] = {}

    def copied_from(self, record: RunRecord, kept: Predictions) -> str | None:
        """Return the record that this one is a copy of; None if it is none.

        Runs of one run id in several numerics may agree, and so may runs that make no error in training.
        """
        scores = record.scores
        if scores is None or not scores.train_loss:
            return None
        parts = (kept.predicted.tobytes(), record.spec.split_sha256, repr(scores.train_loss))
        content = hashlib.sha256(repr(parts).encode()).digest()
        run_id, key = self._seen.setdefault(content, (record.run_id, record.record_key))
        return None if run_id == record.run_id else key
