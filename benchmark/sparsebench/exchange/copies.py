"""Runs that are copies of others: the same predictions, and the same training loss or logits to the last digit."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ..schema import RunRecord
from ..store.predictions import Predictions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


_SEEDED = ("sgd", "fewshot")


class Copies:
    """Remembers runs by what they computed."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[tuple[object, ...], str]] = {}

    def copied_from(self, record: RunRecord, kept: Predictions) -> str | None:
        """Return the record that this one is a copy of; None if it is none.

        One network on the same images may give the same twice: in other numerics, under another protocol that chose the
        same hyperparameters, or with another seed where the classifier has no use for one. So may runs that make no
        error in training.
        """
        scores, spec = record.scores, record.spec
        if scores is None:
            return None
        own: tuple[object, ...] = (
            spec.arch,
            spec.weights_sha256,
            spec.mask_sha256,
            spec.transform_sha256,
            spec.mode,
            spec.probe,
        )
        if spec.mode == "full" or spec.probe in _SEEDED:
            own += (spec.seed,)
        found = None
        for what in (repr(scores.train_loss).encode() if scores.train_loss else None, _bytes(kept.logits)):
            if what is not None:
                digest = hashlib.sha256(b"%d" % len(what) + what + kept.predicted.tobytes())
                digest.update(spec.split_sha256.encode())
                other, key = self._seen.setdefault(digest.digest(), (own, record.record_key))
                found = key if other != own else found
        return found


def _bytes(logits: npt.NDArray[np.floating] | None) -> bytes | None:
    return None if logits is None else logits.tobytes()
