"""The dense reference: the shared recipe without pruning."""

from __future__ import annotations

from ..base import PruningMethod
from ..training import Published, Training


class Dense(PruningMethod):
    """Train every weight; what the other methods are compared with."""

    name = "dense"
    title = "Dense"
    summary = "no pruning: the reference, and the dense twins of co-trained methods"
    colour, marker, place = "#3b3b3b", "o", 0
    distributions = ("dense",)
    published = Published(
        Training(lr=0.256, epochs=100, batch_size=256, momentum=0.875, nesterov=False, weight_decay=3.0518e-5),
        source="AC/DC's dense baseline (Peste et al., 2021)",
    )
