"""Made-up class names, images, predictions and own heads."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from sparsebench.analysis.intervals import Interval
from sparsebench.report.own_task import OwnTask
from sparsebench.report.page import Seen
from sparsebench.store import Predictions
from sparsebench.store.classes import Reader

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAP8AAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="
IMAGES = 20


def reader(frame: pd.DataFrame) -> Reader:
    """Return predictions of all runs: references are right, others err on some of the first images of class 0."""
    names = dict(zip(frame["record_key"], frame["checkpoint"], strict=True))
    labels = np.repeat(np.arange(2), IMAGES // 2)

    def read(keys: Collection[str]) -> Iterator[tuple[str, Predictions]]:
        for key in sorted(set(keys) & set(names)):
            predicted = labels.copy()
            if not names[key].endswith(".dense"):
                predicted[: 1 + len(names[key]) % 3] = 1
            yield key, Predictions(tuple(map(str, range(IMAGES))), labels, predicted)

    return read


def known() -> dict[str, Any]:
    """Return what a page is told of one task's data, of another whose images may not be shown, and of own heads."""
    heads = [
        OwnTask.of(
            claimed=0.76, top1=0.75, images=10000, published=None, checkpoint=name, method="gmp", sparsity=0.5,
            reference="resnet50.dense", task="imagenet", top5=0.9,
        )
        for name in ("resnet50.gmp_v1_s50", "stranger<script>")
    ]  # fmt: skip
    return {
        "seen": {
            "digits": Seen(
                ("<cat>", "dog & co"), lambda image: None if image == "0" else f"{PIXEL}#{image}", "CC BY 4.0 <b>"
            ),
            "glyphs": Seen(),
        },
        "own_tasks": heads,
        "own_agreement": {("resnet50.gmp_v1_s50", "imagenet"): Interval(0.88, 0.87, 0.89, ())},
    }


def _image(image: str) -> str | None:
    return None if image == "0" else f"{PIXEL}#{image}"
