"""One-shot magnitude pruning of trained dense weights, with batch norm estimated anew."""

from __future__ import annotations

from collections.abc import Iterator

from .base import PruningMethod, Result, TrainState
from .batch_norm import retune


class Magnitude(PruningMethod):
    """Prune the smallest weights at once, without any training; only batch-norm statistics are estimated anew."""

    name = "magnitude"
    from_dense = True
    one_shot = True
    several = True
    epochs = 0

    def results(self, state: TrainState) -> Iterator[Result]:
        """Prune the trained weights to each sparsity in turn."""
        yield from one_shot_results(self, state)


def one_shot_results(method: PruningMethod, state: TrainState) -> Iterator[Result]:
    """Yield the model pruned by magnitude to each of a method's sparsities, batch norm re-tuned, lowest first.

    Magnitudes are those before any pruning, so the higher sparsities' weights are among the lower ones' (where the
    distribution allows it); the kept weights are the model's own.
    """
    dense = state.snapshot()
    for sparsity in method.sparsities:
        state.set_masks({})
        state.model.load_state_dict(dense)
        method.prune_by_magnitude(state, sparsity)
        retune(state)
        yield Result(sparsity, state.snapshot(), state.masks)
