"""One-shot magnitude pruning of trained dense weights, with batch norm estimated anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..base import PruningMethod
from ..training import PRUNED_THROUGHOUT, Published, Training

if TYPE_CHECKING:
    from ..state import Result, TrainState


class Magnitude(PruningMethod):
    """Prune the smallest weights at once, without any training; only batch-norm statistics are estimated anew."""

    name = "magnitude"
    title = "Magnitude"
    summary = "one-shot magnitude pruning"
    spellings = ("one-shot",)
    colour, marker, place = "#999933", "v", 1
    start = "dense"
    serves = "several"
    training = Training(epochs=0)
    published = Published(Training(epochs=0, dense=PRUNED_THROUGHOUT), source="CrAM, section 4 (Peste et al., 2023)")

    def results(self, state: TrainState) -> Iterator[Result]:
        """Prune the trained weights to each sparsity in turn."""
        yield from one_shot_results(self, state)


def one_shot_results(method: PruningMethod, state: TrainState) -> Iterator[Result]:
    """Yield the model pruned by magnitude to each of a method's sparsities, batch norm re-tuned, lowest first.

    Magnitudes are those before any pruning, so the higher sparsities' weights are among the lower ones' (where the
    distribution allows it); the kept weights are the model's own.
    """
    from ..batch_norm import retune
    from ..state import Result

    dense = state.snapshot()
    for sparsity in method.sparsities:
        state.set_masks({})
        state.model.load_state_dict(dense)
        method.prune_by_magnitude(state, sparsity)
        retune(state)
        yield Result(sparsity, state.snapshot(), state.masks)
