"""AC/DC: alternating compressed and decompressed training (Peste et al., 2021, algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .base import PruningMethod, TrainState
from .schedules import Phases


class ACDC(PruningMethod):
    """Co-train a sparse and a dense network by alternating sparse and dense phases, from scratch.

    At the start of a sparse phase the weights are projected onto the largest magnitudes and the mask is held through
    the phase; at the start of a dense phase the mask is lifted: pruned weights start again from zero, and the
    optimizer's momentum is cleared. The network at the end of the last dense phase is the *dense twin* of the final
    sparse one.
    """

    name = "acdc"
    summary = "alternating compressed/decompressed training from scratch; leaves a dense twin"

    def __init__(self, sparsity: float, distribution: str = "global", phases: Phases | None = None) -> None:
        super().__init__(sparsity, distribution)
        self.phases = phases or Phases()
        self.twin: dict[str, Tensor] | None = None

    def before_step(self, state: TrainState) -> None:
        """Change phase at a boundary."""
        boundaries = self.phases.boundaries(state.total_steps)
        change = dict(boundaries).get(state.step)
        if change is None or state.step == 0:
            return
        if change:
            if state.step == boundaries[-1][0]:
                self.twin = {key: value.detach().clone() for key, value in state.model.state_dict().items()}
            self.prune_by_magnitude(state, self.sparsity)
        else:
            state.set_masks({})
            state.clear_momentum()

    def state_dict(self) -> dict[str, Any]:
        """Return the dense twin once it exists."""
        return {} if self.twin is None else {"twin": self.twin}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the dense twin back."""
        twin = state.get("twin")
        self.twin = None if twin is None else {key: torch.as_tensor(value) for key, value in twin.items()}
