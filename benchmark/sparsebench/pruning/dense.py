"""The dense reference: the shared recipe without pruning."""

from __future__ import annotations

from .base import PruningMethod


class Dense(PruningMethod):
    """Train every weight; what the other methods are compared with."""

    name = "dense"
    distributions = ("dense",)
