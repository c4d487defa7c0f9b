"""Gradual magnitude pruning (Zhu & Gupta, 2017), from trained dense weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from .base import PruningMethod, TrainState
from .schedules import cubic_sparsity


class GMP(PruningMethod):
    """Prune the smallest weights to a cubically rising sparsity, finetuning all along.

    The sparsity rises from :attr:`initial` to the target between :attr:`start` and :attr:`end` (fractions of the
    training), at :attr:`prunings` evenly spaced steps; the rest of the training finetunes under the last masks. A
    weight once pruned stays so: its magnitude is zero, the smallest there is.
    """

    name = "gmp"
    from_dense = True
    peak_lr = 0.05
    epochs = 10
    settings: ClassVar[tuple[str, ...]] = ("initial", "start", "end", "prunings")
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "initial": (0, 0.99),
        "start": (0, 1),
        "end": (0, 1),
        "prunings": (1, math.inf),
    }
    rising = ("start", "end")

    initial = 0.05
    start = 0.0
    end = 0.6
    prunings = 24

    def pruning_steps(self, total_steps: int) -> dict[int, float]:
        """Return the steps at which the masks change, with the sparsity from each one on."""
        steps: dict[int, float] = {}
        for k in range(self.prunings + 1):
            progress = self.start + (self.end - self.start) * k / self.prunings
            steps[round(progress * total_steps)] = cubic_sparsity(
                progress if k < self.prunings else 1.0,
                min(self.initial, self.sparsity),
                self.sparsity,
                self.start,
                self.end,
            )
        return steps

    def before_step(self, state: TrainState) -> None:
        """Prune further when the schedule says so."""
        target = self.pruning_steps(state.total_steps).get(state.step)
        if target is not None:
            self.prune_by_magnitude(state, target)
