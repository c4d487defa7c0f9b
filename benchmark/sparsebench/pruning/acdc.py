"""AC/DC: alternating compressed and decompressed training (Peste et al., 2021, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..schema import RunError
from .base import PruningMethod, Result, TrainState
from .schedules import Phases


class ACDC(PruningMethod):
    """Co-train a sparse and a dense network by alternating sparse and dense phases, from scratch.

    At the start of a sparse phase the weights are projected onto the largest magnitudes and the mask is held through
    the phase; at the start of a dense phase the mask is lifted: pruned weights start again from zero, and the
    optimizer's momentum is cleared. The network at the end of the last dense phase is the *dense twin* of the final
    sparse one. The settings are fractions of the training, see :class:`~sparsebench.pruning.schedules.Phases`.
    """

    name = "acdc"
    leaves_dense = True
    settings = ("first_sparse", "phase", "last_dense", "last_sparse")
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "first_sparse": (0, 0.99),
        "phase": (0.001, 1),
        "last_dense": (0, 0.99),
        "last_sparse": (0.01, 0.99),
    }
    rising = ("first_sparse", "last_dense", "last_sparse")

    first_sparse = Phases.first_sparse
    phase = Phases.length
    last_dense = Phases.last_dense
    last_sparse = Phases.last_sparse

    twin: dict[str, Tensor] | None = None

    def boundaries(self, total_steps: int) -> list[tuple[int, bool]]:
        """Return ``(first step, sparse?)`` of each phase."""
        return Phases(self.first_sparse, self.phase, self.last_dense, self.last_sparse).boundaries(total_steps)

    def before_step(self, state: TrainState) -> None:
        """Change phase at a boundary."""
        boundaries = self.boundaries(state.total_steps)
        change = dict(boundaries).get(state.step)
        if change is None or state.step == 0:
            return
        if change:
            if state.step == boundaries[-1][0]:
                self.twin = state.snapshot()
            self.prune_by_magnitude(state, self.sparsity)
        else:
            state.set_masks({})
            state.clear_momentum()

    def results(self, state: TrainState) -> Iterator[Result]:
        """Yield the sparse network and its dense twin."""
        yield from super().results(state)
        if self.twin is None:
            raise RunError(
                f"{state.total_steps} steps are too few for the phases of {self.name}",
                "give more --epochs, or a smaller --batch-size",
            )
        yield Result(0.0, self.twin, {})

    def state_dict(self) -> dict[str, Any]:
        """Return the dense twin once it exists."""
        return {} if self.twin is None else {"twin": self.twin}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the dense twin back."""
        twin = state.get("twin")
        self.twin = None if twin is None else {key: torch.as_tensor(value) for key, value in twin.items()}
